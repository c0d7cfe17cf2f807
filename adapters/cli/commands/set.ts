/** `cairn set`: one value, durable when the command ends. */
import { addExamples, onStore, type StoreCommand } from "../command.ts";
import { CommandFailure, EXIT_BAD_USE, EXIT_OK } from "../failure.ts";
import { addKeyFormOptions, type KeyFormOptions, keyOf } from "../range-options.ts";
import { bytesOf } from "../text.ts";

export const set: StoreCommand<KeyFormOptions & { expiresIn?: string; ifVersion?: string }> = {
  access: "create",
  summary: "store a value under a key",

  define(command) {
    command.argument("<key>").argument("<value>", "the value; - reads it from standard input (not in the shell)");
    command.option("--expires-in <seconds>", "let the record expire");
    command.option(
      "--if-version <version>",
      "only over this version, as get --entry shows it; 0: only where nothing is",
    );
    addKeyFormOptions(command);
    addExamples(command, [
      "cairn set app.cairn user:1 Ada",
      "cairn set app.cairn logo.png - < logo.png",
      "cairn set app.cairn flag -- --not-an-option",
      "cairn set app.cairn session:7 Ada --expires-in 3600",
    ]);
  },

  async run({ store, args, options, readInput }) {
    const [keyText, valueText] = args as [string, string];
    const key = keyOf(keyText, options);
    const value = valueText === "-" && readInput ? await readInput() : bytesOf(valueText);
    if (!value) throw new CommandFailure("the value is not well-formed Unicode", EXIT_BAD_USE);
    const stored = await store.put(key, value, {
      expiresIn: options.expiresIn === undefined ? undefined : secondsOf(options.expiresIn) * 1000,
      ifVersion: options.ifVersion === undefined ? undefined : versionOf(options.ifVersion),
    });
    if (!stored) throw new CommandFailure(`the key has another version than ${options.ifVersion}; nothing was changed`);
    return EXIT_OK;
  },
};

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds > 0 && seconds < 2 ** 48 / 1000) return seconds;
  throw new CommandFailure("--expires-in takes a number of seconds above 0", EXIT_BAD_USE);
}

function versionOf(text: string): number | null {
  const version = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(version) && version >= 0) return version === 0 ? null : version;
  throw new CommandFailure("--if-version takes a version, or 0", EXIT_BAD_USE);
}

export const define = onStore(set);
