/**
 * The guides, as a reader follows them: over the packed package, what a page shows in JavaScript is run as one program from
 * its top to its end, on Node, Bun and Deno, with what it says about each line compared; then its commands. And the
 * documents' index and links lead somewhere.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import process from "node:process";
import { transformSync } from "esbuild";
import { beforeAll, describe, expect, test } from "vitest";
import { CAIRN_ERROR_CODES } from "../../store/error.ts";
import { installPacked, peer, peerMissing, ROOT, run, temporaryFolder } from "../packaging/project.ts";
import { blocksOf, checkedProgram, countOfClaims } from "./program.ts";

const GUIDE = join(ROOT, "docs/guide");
const folder = realpathSync(temporaryFolder());
const pages = readdirSync(GUIDE).filter((name) => name.endsWith(".md"));
const textOf = (path: string): string => readFileSync(join(ROOT, path), "utf8");

/** Which test runs the JavaScript of a document that is no guide. */
const RUN_BY: Record<string, string> = {
  "README.md": "test/readme/readme.test.ts",
  "docs/adapters.md": "test/packaging/adapters.test.ts",
  "docs/bundlers.md": "test/packaging/bundlers.test.ts",
  "docs/component.md": "test/component/document.test.ts",
  "docs/server.md": "test/server/pages.test.ts",
  "docs/server/client.md": "test/server/client.test.ts",
  "docs/server/websocket.md": "test/server/pages.test.ts",
  "docs/server/workers.md": "test/server/workers-life.test.ts",
};

const documents = [
  "README.md",
  "ARCHITECTURE.md",
  "CHANGELOG.md",
  ...["docs", "examples"].flatMap((top) =>
    readdirSync(join(ROOT, top), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md") && !name.includes("node_modules"))
      .map((name) => `${top}/${name}`),
  ),
];

/** A runner that goes through all pages in one process, each in a folder of its own: what each of them came to. */
const RUNNER = `import { mkdirSync } from "node:fs";
import process from "node:process";
import { claims } from "./claims.mjs";
const [place, ...pages] = process.argv.slice(2);
const ends = {};
for (const page of pages) {
  mkdirSync(place + "/" + page, { recursive: true });
  process.chdir(place + "/" + page);
  claims.count = 0;
  try {
    await import("./" + page + ".mjs");
    ends[page] = { claims: claims.count };
  } catch (error) {
    ends[page] = { failed: String(error.stack ?? error) };
  }
}
console.log(JSON.stringify(ends));
`;

const CLAIMS = `import { deepStrictEqual } from "node:assert/strict";
export const claims = { count: 0 };
export function same(found, claimed, line) {
  claims.count += 1;
  try {
    deepStrictEqual(found, claimed);
  } catch ({ message }) {
    throw new Error("line " + line + ": " + message);
  }
}
export async function refuses(body, code, line) {
  claims.count += 1;
  try {
    await body();
  } catch (error) {
    if ((error.code ?? error.name) === code) return;
    throw new Error("line " + line + ": " + error.stack);
  }
  throw new Error("line " + line + ": nothing was thrown");
}
`;

beforeAll(() => {
  installPacked(folder);
  writeFileSync(join(folder, "runner.mjs"), RUNNER);
  writeFileSync(join(folder, "claims.mjs"), CLAIMS);
  for (const page of pages) {
    const program = checkedProgram(textOf(`docs/guide/${page}`), "js");
    // Node 20 has not all of the syntax that the pages use.
    const { code } = transformSync(program, { loader: "ts", target: "es2022", sourcefile: page, logLevel: "silent" });
    writeFileSync(join(folder, `${page}.mjs`), code);
  }
});

describe.for([
  { runtime: "Node", command: process.execPath, flags: [] as string[] },
  { runtime: "Bun", command: peer("bun"), flags: ["run"] },
  { runtime: "Deno", command: peer("deno"), flags: ["run", "--allow-all"] },
])("the guides on $runtime", ({ runtime, command, flags }) => {
  test("say what happens", async (context) => {
    const missing = runtime === "Node" ? undefined : peerMissing(runtime.toLowerCase());
    if (missing !== undefined) context.skip(missing);
    const place = join(folder, `run-${runtime}`);
    mkdirSync(place);
    const ended = await run(folder, command, [...flags, "runner.mjs", place, ...pages]);
    expect(ended).toMatchObject({ err: "", status: 0 });
    const claimed = pages.map((page) => [page, { claims: countOfClaims(textOf(`docs/guide/${page}`), "js") }]);
    expect(JSON.parse(ended.out)).toEqual(Object.fromEntries(claimed));
  });
});

test("the commands of the guides succeed on the stores that their pages made", async () => {
  const tool = join(folder, "node_modules/cairn-kv/build/adapters/cli/main.js");
  let count = 0;
  for (const page of pages) {
    for (const { text } of blocksOf(textOf(`docs/guide/${page}`), "sh")) {
      for (const command of text
        .trim()
        .split("\n")
        .filter((line) => line.startsWith("npx cairn "))) {
        const ended = await run(join(folder, "run-Node", page), process.execPath, [
          tool,
          ...command.split(" ").slice(2),
        ]);
        expect(ended.status, `${page}: ${command}: ${ended.err}`).toBe(0);
        count += 1;
      }
    }
  }
  expect(count).toBeGreaterThan(0);
});

test("all JavaScript that documents show is run by a test", () => {
  for (const document of documents) {
    const languages = [...textOf(document).matchAll(/^```(.+)$/gm)].map((match) => match[1] as string);
    if (document.startsWith("docs/guide/")) {
      expect(
        languages.filter((language) => !["js", "js page", "sh"].includes(language)),
        document,
      ).toEqual([]);
    } else if (languages.some((language) => /^(js|ts|javascript|typescript)\b/.test(language))) {
      const proof = RUN_BY[document];
      expect(proof, document).toBeDefined();
      expect(textOf(proof as string), `${proof} of ${document}`).toContain(document);
    }
  }
});

test("the guide to errors names every code", () => {
  const named = [...textOf("docs/guide/errors.md").matchAll(/`([A-Z_]+)`/g)].map((match) => match[1]);
  expect(CAIRN_ERROR_CODES.filter((code) => !named.includes(code))).toEqual([]);
});

test("every page of docs is in the index", () => {
  const linked = linksOf("docs/README.md").map(({ path }) => path);
  const listed = documents.filter((path) => /^docs\/(?!decisions\/|README)/.test(path));
  expect(listed.filter((path) => !linked.includes(path))).toEqual([]);
});

test("every link between documents leads to a file, and to a heading of it", () => {
  const broken: string[] = [];
  for (const document of documents) {
    for (const { link, path, anchor } of linksOf(document)) {
      if (!existsSync(join(ROOT, path))) broken.push(`${document}: ${link}`);
      else if (anchor !== undefined && !anchorsOf(path).includes(anchor)) broken.push(`${document}: ${link}`);
    }
  }
  expect(broken).toEqual([]);
});

/** The links of a document to others, with where they lead from the root. */
function linksOf(document: string): { link: string; path: string; anchor: string | undefined }[] {
  const text = textOf(document).replace(/^```[\s\S]*?^```/gm, "");
  return [...text.matchAll(/\]\(([^()\s]+)\)/g)]
    .map((match) => match[1] as string)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? document : relative(ROOT, resolve(ROOT, dirname(document), path));
      return { link, path: target, anchor };
    });
}

/** The anchors that a page of GitHub has for its headings. */
function anchorsOf(path: string): string[] {
  return [...textOf(path).matchAll(/^#+ (.*)$/gm)].map((match) => {
    const plain = (match[1] as string).toLowerCase().replace(/[^\p{L}\p{N}\- _]/gu, "");
    return plain.replaceAll(" ", "-");
  });
}
