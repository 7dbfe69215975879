// Bundles the console into ../dist, from where the binary embeds it. With
// --tests it bundles the tests for node's test runner instead.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join, parse } from "node:path";
import { gzipSync } from "node:zlib";

const dist = "../dist";
const assets = join(dist, "assets");
const target = "es2022";

if (process.argv.includes("--tests")) {
  await bundleTests();
} else {
  await bundleConsole();
}

async function bundleConsole() {
  await rm(assets, { recursive: true, force: true });
  await mkdir(assets, { recursive: true });
  const { metafile } = await build({
    entryPoints: { console: "src/main.ts", styles: "src/styles/styles.css" },
    outdir: assets,
    entryNames: "[name]-[hash]",
    bundle: true,
    minify: true,
    format: "esm",
    target,
    legalComments: "none", // licences.txt has the texts in full
    metafile: true,
  });
  const names = Object.keys(metafile.outputs).map((file) => parse(file).base);
  const pages = {
    SCRIPT: names.find((name) => name.endsWith(".js")),
    STYLES: names.find((name) => name.endsWith(".css")),
    ICON: await writeHashed("icon.svg", await readFile("src/icon.svg")),
    LICENCES: await writeHashed("licences.txt", await licences()),
  };
  for (const page of ["index.html", "not-found.html"]) {
    const html = await readFile(join("src", page), "utf8");
    await writeFile(join(dist, page), html.replace(/{{(\w+)}}/g, (_, name) => `/assets/${pages[name]}`));
    await compress(join(dist, page));
  }
  for (const name of await readdir(assets)) {
    await compress(join(assets, name));
  }
}

/** Writes an asset under a name that changes with its content. */
async function writeHashed(name, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 8).toUpperCase();
  const { name: stem, ext } = parse(name);
  const hashed = `${stem}-${hash}${ext}`;
  await writeFile(join(assets, hashed), content);
  return hashed;
}

async function compress(file) {
  await writeFile(`${file}.gz`, gzipSync(await readFile(file), { level: 9 }));
}

/** The notices that the bundled third-party code asks for. */
async function licences() {
  const novnc = "node_modules/@novnc/novnc";
  const { version } = JSON.parse(await readFile(join(novnc, "package.json"), "utf8"));
  const parts = [
    `This console bundles noVNC ${version}, unmodified as published on npm as @novnc/novnc. Its source is at\n` +
      `https://github.com/novnc/noVNC/tree/v${version}. noVNC is under the Mozilla Public License 2.0 and contains pako (MIT).\n`,
  ];
  for (const file of ["LICENSE.txt", "AUTHORS", "docs/LICENSE.MPL-2.0", "vendor/pako/LICENSE"]) {
    parts.push(`${"-".repeat(72)}\n@novnc/novnc ${file}\n\n${await readFile(join(novnc, file), "utf8")}`);
  }
  const des = await readFile(join(novnc, "core/crypto/des.js"), "utf8");
  parts.push(`${"-".repeat(72)}\n@novnc/novnc core/crypto/des.js\n\n${des.slice(0, des.indexOf("*/") + 2)}\n`);
  return parts.join("\n");
}

async function bundleTests() {
  const out = "node_modules/.cache/tests";
  await rm(out, { recursive: true, force: true });
  const tests = (await readdir("src", { recursive: true })).filter((file) => file.endsWith(".test.ts"));
  await build({
    entryPoints: tests.map((file) => join("src", file)),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    sourcemap: "inline",
  });
}
