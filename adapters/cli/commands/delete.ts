/** `cairn delete`: removes one key, durably. */
import { addExamples, onStore, type StoreCommand } from "../command.ts";
import { EXIT_NOT_FOUND, EXIT_OK } from "../failure.ts";
import { addKeyFormOptions, type KeyFormOptions, keyOf } from "../range-options.ts";

export const remove: StoreCommand<KeyFormOptions> = {
  access: "change",
  summary: "delete a key",

  define(command) {
    command.argument("<key>");
    addKeyFormOptions(command);
    addExamples(command, ["cairn delete app.cairn user:1"]);
  },

  async run({ store, args, options }) {
    const text = args[0] as string;
    if (await store.del(keyOf(text, options))) return EXIT_OK;
    console.error(`not found: ${JSON.stringify(text)}`);
    return EXIT_NOT_FOUND;
  },
};

export const define = onStore(remove);
