/**
 * `npm run test:planted`: deliberate bugs in core and hosts, each of which the simulation must catch: test/planted/program.ts.
 */
import { bundled, path, runToEnd } from "./program.mjs";

const program = await bundled("test/planted/program.ts", "planted-program", { packages: "external" });
runToEnd(program, [path("."), ...process.argv.slice(2)]);
