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
  /** Whether a missing store is created. */
  create: boolean;
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
    command.action(async () => {
      const [target, ...args] = command.processedArgs as [string, ...(string | undefined)[]];
      const { openBytes, readStandardInput } = await import("./byte-store.ts");
      const output = new Output(process.stdout);
      const store = await openBytes(target, { create: spec.create });
      try {
        const options = command.opts<Options>();
        const { signal } = new AbortController();
        const status = await spec.run({ store, output, args, options, signal, readInput: readStandardInput });
        await output.flush();
        process.exitCode = status;
      } finally {
        await store.close();
      }
    });
  };
}

/** Adds examples, lines that begin with `$`-less commands, below a command's help. */
export function addExamples(command: Command, lines: string[]): void {
  command.addHelpText("after", `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`);
}
