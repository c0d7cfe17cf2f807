/**
 * What a command is.
 *
 * A file in commands/ exports `define`, which adds arguments, options and an action to the commander command that main.ts
 * made for it; one line in main.ts names the file. A command that works on one open store is a `StoreCommand`, wrapped by
 * `onStore`: it is not concerned with opening, closing and exit statuses, and the shell can run it too.
 */
import type { Command } from "commander";
import type { ByteStore } from "./byte-store.ts";
import { Output } from "./output.ts";

/** One run of a command on an open store. */
export interface Call<Options> {
  store: ByteStore;
  /** Standard output. It is flushed after the run. */
  output: Output;
  /** The arguments after the store; `undefined` for an optional one that is missing. */
  args: (string | undefined)[];
  options: Options;
  /** Aborted when the user breaks off in the shell. */
  signal: AbortSignal;
  /** All of standard input. Absent in the shell, whose commands come from there. */
  readInput?: () => Promise<Uint8Array>;
}

/** A command on one open store. */
export interface StoreCommand<Options = object> {
  /** Whether it only reads, changes an existing store, or creates a missing one. */
  access: "read" | "change" | "create";
  summary: string;
  /** Adds the arguments after the store, options, and examples. */
  define(command: Command): void;
  /** Returns the exit status. */
  run(call: Call<Options>): Promise<number>;
}

/** The `define` of a store command: opens the store that the first argument names, runs, closes. */
export function onStore<Options extends object>(spec: StoreCommand<Options>): (command: Command) => void {
  return (command) => {
    command.argument("<store>", "file or block device of the store");
    spec.define(command);
    if (spec.access === "read") {
      command.option(
        "--read-only",
        "take no lock: the last durable state, also while another process has the store open",
      );
    }
    command.action(async () => {
      const [target, ...args] = command.processedArgs as [string, ...(string | undefined)[]];
      const { readStandardInput, withStore } = await import("./byte-store.ts");
      const options = command.opts<Options & { readOnly?: true }>();
      const output = new Output(process.stdout);
      const { signal } = new AbortController();
      const opening = { create: spec.access === "create", readOnly: options.readOnly === true };
      process.exitCode = await withStore(target, opening, async (store) => {
        const status = await spec.run({ store, output, args, options, signal, readInput: readStandardInput });
        await output.flush();
        return status;
      });
    });
  };
}

/** Adds examples, one command a line, below a command's help. */
export function addExamples(command: Command, lines: string[]): void {
  command.addHelpText("after", `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`);
}
