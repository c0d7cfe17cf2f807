/** Loads the peers from bench/, where alone they are installed. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The repository's root, seen from build/bench/stores/. */
const ROOT = new URL("../../../", import.meta.url);

const require = createRequire(new URL("bench/package.json", ROOT));

/** The module of a peer, as the caller knows it. */
export function loadPeer<Module>(name: string): Module {
  return require(name) as Module;
}

/** The file that a peer's name leads to. */
export function pathOfPeer(name: string): string {
  return require.resolve(name);
}

/** The version of an installed peer. */
export function versionOfPeer(name: string): string {
  let folder = dirname(require.resolve(name));
  for (;;) {
    try {
      const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
        name?: string;
        version?: string;
      };
      if (manifest.name === name && manifest.version !== undefined) return manifest.version;
    } catch {
      // No manifest here: it lies further up.
    }
    if (folder === dirname(folder)) throw new Error(`no package.json of ${name} was found`);
    folder = dirname(folder);
  }
}

/** The version of this repository's own package. */
export function versionOfCairn(): string {
  const manifest = JSON.parse(readFileSync(new URL("package.json", ROOT), "utf8")) as { version: string };
  return manifest.version;
}
