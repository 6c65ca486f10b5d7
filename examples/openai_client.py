"""Ask about a film with OpenAI's own client, through the gateway.

pip install openai
cxr-reason serve engines/nano        # in one terminal
cxr-reason gateway                   # in another
python examples/openai_client.py film.dcm
"""

import argparse
import base64
from pathlib import Path

from openai import OpenAI

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("film", type=Path, help="DICOM file of a frontal chest film")
parser.add_argument("--gateway", default="http://127.0.0.1:8080", help="address of the gateway")
parser.add_argument("--key", default="none", help="API key, if the gateway has keys")
arguments = parser.parse_args()

film = base64.b64encode(arguments.film.read_bytes()).decode()
image = {"type": "image_url", "image_url": {"url": f"data:application/dicom;base64,{film}"}}
question = {"type": "text", "text": "Find abnormalities and support devices."}

with OpenAI(base_url=f"{arguments.gateway}/v1", api_key=arguments.key) as client:
    chunks = client.chat.completions.create(
        model="cxr-reason",
        messages=[{"role": "user", "content": [image, question]}],
        stream=True,
    )
    for chunk in chunks:
        for choice in chunk.choices:
            # The reasoning is not in OpenAI's own types, so it is not always there.
            print(getattr(choice.delta, "reasoning", None) or choice.delta.content or "", end="")
print()
