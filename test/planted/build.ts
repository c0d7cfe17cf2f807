/** The build with all planted bugs: the simulation over the sources of store and hosts, and the core, both with every bug. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, sep } from "node:path";
import { main as compile } from "assemblyscript/asc";
import { build } from "esbuild";
import { changesOf, plantedSource } from "./bug.ts";
import { BUGS } from "./bugs.ts";
import { withNamedChecks } from "./checks.ts";
import { hostSource } from "./host-source.ts";

/** Stands for a source of the core that only this build has: which bug is on is a constant that the host imports to it. */
const SWITCH = "assembly/planted.ts";
const SWITCH_TEXT = `@external("env", "planted")\nexport declare const planted: i32;\n`;
/** Where a build lies. */
export interface PlantedBuild {
  binary: string;
  program: string;
}

/** Builds into `folder`; `root` is the repository. A few seconds. */
export async function buildPlanted(root: string, folder: string): Promise<PlantedBuild> {
  mkdirSync(folder, { recursive: true });
  const binary = join(folder, "planted.wasm");
  const program = join(folder, "planted-simulation.mjs");
  writeFileSync(binary, await coreWithBugs(root));
  await build({
    entryPoints: [join(root, "test/simulation/program.ts")],
    outfile: program,
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "warning",
    plugins: [
      {
        name: "planted-bugs",
        setup({ onLoad }) {
          onLoad({ filter: /[\\/](store|hosts)[\\/].*\.ts$/ }, ({ path }) => {
            const file = relative(root, path).split(sep).join("/");
            return { contents: hostSource(file, readFileSync(path, "utf8")), loader: "ts" };
          });
          onLoad({ filter: /[\\/]simulation[\\/][^\\/]+\.ts$/ }, ({ path }) => {
            return { contents: withNamedChecks(basename(path), readFileSync(path, "utf8")), loader: "ts" };
          });
        },
      },
    ],
  });
  return { binary, program };
}

async function coreWithBugs(root: string): Promise<Uint8Array> {
  let binary: Uint8Array | undefined;
  const changed = new Set(BUGS.flatMap(changesOf).map(({ file }) => file));
  const words = ["assembly/index.ts", "--target", "release", "--outFile", "planted.wasm", "--textFile", "planted.wat"];
  const { error, stderr } = await compile(words, {
    readFile(name, base) {
      const path = join(base, name);
      const file = relative(root, join(root, path)).split(sep).join("/");
      if (file === SWITCH) return SWITCH_TEXT;
      let text: string;
      try {
        text = readFileSync(join(root, path), "utf8");
      } catch {
        return null;
      }
      if (!changed.has(file)) return text;
      const place = relative(dirname(file), SWITCH.replace(/\.ts$/, "")).split(sep).join("/");
      return `import { planted } from "${place}";\n${plantedSource(file, text, BUGS, (number) => `(planted == ${number})`)}`;
    },
    writeFile(name, contents) {
      if (name === "planted.wasm" && typeof contents !== "string") binary = contents;
    },
    listFiles: () => null,
  });
  if (error !== null || binary === undefined)
    throw new Error(`the core with planted bugs does not compile:\n${stderr}`);
  return binary;
}
