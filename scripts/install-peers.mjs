/**
 * Installs what is needed beside the development dependencies. In `test/peers/node_modules`: other runtimes and the tools of
 * the component, which are not development dependencies because `npm ci` refuses a lock file in which an optional platform
 * package could not be resolved, as their packages have. In `docs/node_modules`: TypeDoc, with a TypeScript that it takes.
 * Versions are exact.
 *
 * Does nothing for a folder when all stands there in the version that its `package.json` names.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDERS = ["../test/peers/", "../docs/"].map((folder) => new URL(folder, import.meta.url));

/**
 * @param {URL} folder
 * @param {string} name
 * @param {string} version
 */
function stands(folder, name, version) {
  const manifest = new URL(`node_modules/${name}/package.json`, folder);
  return existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === version;
}

for (const folder of FOLDERS) {
  /** @type {{ dependencies: Record<string, string> }} */
  const { dependencies } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8"));
  if (Object.entries(dependencies).every(([name, version]) => stands(folder, name, version))) continue;
  // The runtimes' own install scripts put the binary of this platform into place.
  const run = spawnSync("npm", ["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts=false"], {
    cwd: fileURLToPath(folder),
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (run.status !== 0) process.exitCode = run.status ?? 1;
}
