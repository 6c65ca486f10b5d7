"""The gateway: an HTTP service that speaks OpenAI's chat completions and serves the reading page.

cxr-reason gateway --server 127.0.0.1:8001 --port 8080

It stands between people and Triton: it checks keys, sizes and rates, and turns what it is sent into
requests of `cxr_reason.client`. Nothing of a request's content is logged. Needs the extra
`gateway`.
"""
