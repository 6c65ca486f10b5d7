import { render } from "preact";

import { App } from "./app";
import "./style/base.css";
import "./style/film.css";
import "./style/findings.css";
import "./style/text.css";
import "./style/frame.css";

render(<App />, document.getElementById("app")!);
