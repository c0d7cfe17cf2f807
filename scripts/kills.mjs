/**
 * Kills processes in the midst of writes, over and over (test/faults): `npm run test:kills -- --count N [--runtime node|bun|deno]
 * [--on file|loop] [--minutes N]`. Ends with `N kills, N failed`.
 */
import { bundled, path, runToEnd } from "./program.mjs";

const program = await bundled("test/faults/kills-program.ts", "kills-program", { packages: "external" });
runToEnd(program, [path("."), ...process.argv.slice(2)]);
