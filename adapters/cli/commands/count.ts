/** `count` of the shell; on the command line it is `cairn scan --count`. */
import type { StoreCommand } from "../command.ts";
import { EXIT_OK } from "../failure.ts";
import { addRangeOptions, type RangeOptions, rangeOf } from "../range-options.ts";

export const count: StoreCommand<RangeOptions> = {
  access: "read",
  summary: "count the keys of a range",

  define(command) {
    addRangeOptions(command);
  },

  async run({ store, output, options }) {
    output.write(`${store.count(rangeOf(options))}\n`);
    return EXIT_OK;
  },
};
