// Makes one self-contained page of src/: built/index.html, and the licences of what
// is in it. `npm run build` checks the types first; `make page` calls it.

import { build } from "esbuild";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import path from "node:path";

const made = await build({
  entryPoints: ["src/main.tsx"],
  bundle: true,
  minify: true,
  metafile: true,
  write: false,
  outdir: "built",
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none", // All of them are in licences.txt, in full.
  logLevel: "warning",
});

const text = (ending) => made.outputFiles.find((file) => file.path.endsWith(ending)).text;
const template = await readFile("src/index.html", "utf8");
const page = template
  .replace("/* style */", () => text(".css").trim())
  .replace("/* script */", () => text(".js").trim());

await mkdir("built", { recursive: true });
await writeFile("built/index.html", page);
await writeFile("built/licences.txt", await licences(Object.keys(made.metafile.inputs)));

// Every package that the bundle has a file of, with its licence's text.
async function licences(inputs) {
  const names = new Set();
  for (const input of inputs) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) names.add(found[1]);
  }
  const texts = [];
  for (const name of [...names].sort()) {
    const folder = path.join("node_modules", name);
    const about = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    const files = await readdir(folder);
    const licence = files.find((file) => /^licen[cs]e(\.(md|txt))?$/i.test(file));
    if (!licence || !existsSync(path.join(folder, licence))) {
      throw new Error(`${name} comes without the text of its licence`);
    }
    const words = (await readFile(path.join(folder, licence), "utf8")).trim();
    texts.push(`${name} ${about.version} (${about.license})\n\n${words}\n`);
  }
  return texts.join(`\n${"-".repeat(72)}\n\n`);
}
