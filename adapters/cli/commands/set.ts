/** `cairn set`: one value, durable when the command ends. */
import { addExamples, onStore, type StoreCommand } from "../command.ts";
import { CommandFailure, EXIT_BAD_USE, EXIT_OK } from "../failure.ts";
import { addKeyFormOptions, type KeyFormOptions, keyOf } from "../range-options.ts";
import { bytesOf } from "../text.ts";

export const set: StoreCommand<KeyFormOptions> = {
  access: "create",
  summary: "store a value under a key",

  define(command) {
    command.argument("<key>").argument("<value>", "the value; - reads it from standard input (not in the shell)");
    addKeyFormOptions(command);
    addExamples(command, [
      "cairn set app.cairn user:1 Ada",
      "cairn set app.cairn logo.png - < logo.png",
      "cairn set app.cairn flag -- --not-an-option",
    ]);
  },

  async run({ store, args, options, readInput }) {
    const [keyText, valueText] = args as [string, string];
    const key = keyOf(keyText, options);
    const value = valueText === "-" && readInput ? await readInput() : bytesOf(valueText);
    if (!value) throw new CommandFailure("the value is not well-formed Unicode", EXIT_BAD_USE);
    await store.put(key, value);
    return EXIT_OK;
  },
};

export const define = onStore(set);
