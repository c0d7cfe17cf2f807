/**
 * Installs what the tests need beside the development dependencies: other runtimes and the tools of the component, in
 * `test/peers/node_modules`. They are not development dependencies because `npm ci` refuses a lock file in which an
 * optional platform package could not be resolved, which is what their packages have. Versions are exact.
 *
 * Does nothing when all of them stand in the version that `test/peers/package.json` names.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const PEERS = new URL("../test/peers/", import.meta.url);

/**
 * @param {string} name
 * @param {string} version
 */
function stands(name, version) {
  const manifest = new URL(`node_modules/${name}/package.json`, PEERS);
  return existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === version;
}

/** @type {{ dependencies: Record<string, string> }} */
const { dependencies } = JSON.parse(readFileSync(new URL("package.json", PEERS), "utf8"));
if (!Object.entries(dependencies).every(([name, version]) => stands(name, version))) {
  // The runtimes' own install scripts put the binary of this platform into place.
  const run = spawnSync("npm", ["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts=false"], {
    cwd: fileURLToPath(PEERS),
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  process.exitCode = run.status ?? 1;
}
