#!/usr/bin/env node
// Prints the licences of what the built page holds.
import { existsSync, readFileSync } from "node:fs";

const here = new URL(".", import.meta.url);
const read = (path) => readFileSync(new URL(path, here), "utf8").trim();
const { dependencies } = JSON.parse(read("package.json"));

const parts = ["The page holds these packages, each under its own licence."];
for (const name of Object.keys(dependencies).sort()) {
  const folder = `node_modules/${name}/`;
  const { version, license } = JSON.parse(read(`${folder}package.json`));
  const file = `${folder}LICENSE`;
  const text = existsSync(new URL(file, here)) ? read(file) : "(the package ships no text of it)";
  parts.push(`${name} ${version} (${license})\n\n${text}`);
}
console.log(parts.join(`\n\n${"-".repeat(72)}\n`));
