#!/usr/bin/env node
/**
 * The `cairn` tool.
 *
 * Standard output carries data, standard error everything else. Exit status: 0, 1 failed, 2 bad use, 3 key not found.
 * A command is one file in commands/ and one line below; its file, and what that imports, is loaded only when it is used.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { EXIT_BAD_USE, EXIT_OK, messageOf, statusOf } from "./failure.ts";

interface CommandModule {
  define(command: Command): void;
}

const COMMANDS: Record<string, { summary: string; load: () => Promise<CommandModule> }> = {
  load: { summary: "load NDJSON or CSV into a store", load: () => import("./commands/load.ts") },
  get: { summary: "print the value of a key", load: () => import("./commands/get.ts") },
  set: { summary: "store a value under a key", load: () => import("./commands/set.ts") },
  delete: { summary: "delete a key", load: () => import("./commands/delete.ts") },
  scan: { summary: "print a range of keys and values as NDJSON", load: () => import("./commands/scan.ts") },
  stats: { summary: "print the store's counters and gauges", load: () => import("./commands/stats.ts") },
  verify: { summary: "prove that a store is sound, or say what is not", load: () => import("./commands/verify.ts") },
  repair: {
    summary: "rebuild a store from what is left of a damaged one",
    load: () => import("./commands/repair.ts"),
  },
  compact: {
    summary: "give the space of overwritten and deleted records back",
    load: () => import("./commands/compact.ts"),
  },
  backup: { summary: "copy a store as it is now, while it is used", load: () => import("./commands/backup.ts") },
  restore: { summary: "bring a store back from backups", load: () => import("./commands/restore.ts") },
  snapshot: {
    summary: "keep versions of a store in a folder or an S3 bucket",
    load: () => import("./commands/snapshot.ts"),
  },
  inspect: { summary: "show what lies on a device, block by block", load: () => import("./commands/inspect.ts") },
  serve: { summary: "serve a store over HTTP, WebSocket and RIOC", load: () => import("./commands/serve.ts") },
  keys: { summary: "say who may use a server", load: () => import("./commands/keys.ts") },
  shell: { summary: "open a prompt on a store", load: () => import("./commands/shell.ts") },
};

const EXAMPLES = `
Examples:
  cairn load app.cairn users.ndjson --key id
  cairn get app.cairn user:1
  cairn scan app.cairn --prefix user: --limit 10
  cairn shell app.cairn

Exit status: 0 done, 1 failed, 2 bad use, 3 key not found.
"cairn help <command>" tells more about a command.`;

/** The package's version. This file runs as build/adapters/cli/main.js. */
function version(): string {
  const manifest = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

async function run(words: string[]): Promise<void> {
  const program = new Command("cairn")
    .description("An embedded, durable, ordered key-value store. Every command but keys takes the store first.")
    .version(version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", EXAMPLES)
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "cairn: ")) })
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .exitOverride();

  // Only the command in use knows its arguments: the others cost no more than their name.
  const used = words.find((word) => Object.hasOwn(COMMANDS, word));
  for (const [name, { summary, load }] of Object.entries(COMMANDS)) {
    const command = program
      .command(name)
      .summary(summary)
      .description(`${capitalized(summary)}.`);
    command.helpOption("-h, --help", "print this help");
    if (name === used) (await load()).define(command);
  }
  await program.parseAsync(words, { from: "user" });
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

try {
  await run(process.argv.slice(2));
} catch (error) {
  if (error instanceof CommanderError) {
    // commander has printed what is wrong, or the help that was asked for.
    process.exitCode = error.exitCode === 0 ? EXIT_OK : EXIT_BAD_USE;
  } else {
    console.error(`cairn: ${messageOf(error)}`);
    process.exitCode = statusOf(error);
  }
}
