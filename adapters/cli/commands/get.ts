/** `cairn get`: one value, byte for byte. */
import { addExamples, onStore, type StoreCommand } from "../command.ts";
import { EXIT_NOT_FOUND, EXIT_OK } from "../failure.ts";
import { addKeyFormOptions, type KeyFormOptions, keyOf } from "../range-options.ts";
import { base64Of, textOf } from "../text.ts";

export const get: StoreCommand<KeyFormOptions & { raw?: true; entry?: true }> = {
  access: "read",
  summary: "print the value of a key",

  define(command) {
    command.argument("<key>").option("--raw", "no newline after the value");
    command.option("--entry", "print value, version, expiry and timestamp as JSON");
    addKeyFormOptions(command);
    addExamples(command, [
      "cairn get app.cairn user:1",
      "cairn get app.cairn logo.png --raw > logo.png",
      "cairn get app.cairn --hex 00ff41",
    ]);
  },

  async run({ store, output, args, options }) {
    const text = args[0] as string;
    const key = keyOf(text, options);
    const { value, ...facts } = (options.entry ? store.getEntry(key) : { value: store.get(key) }) ?? {};
    if (value === undefined) {
      console.error(`not found: ${JSON.stringify(text)}`);
      return EXIT_NOT_FOUND;
    }
    if (options.entry) {
      const shown = textOf(value);
      output.write(
        `${JSON.stringify({ ...(shown === undefined ? { base64: base64Of(value) } : { value: shown }), ...facts })}\n`,
      );
      return EXIT_OK;
    }
    // Bytes that are no text would garble a terminal.
    const isShown = !output.isTerminal || textOf(value) !== undefined;
    if (isShown) await output.writeBytes(value);
    else output.write(JSON.stringify({ base64: base64Of(value) }));
    if (!options.raw) output.write("\n");
    return EXIT_OK;
  },
};

export const define = onStore(get);
