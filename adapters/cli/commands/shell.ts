/**
 * `cairn shell`: a prompt on one store, with history and completion; or commands from a pipe, one a line.
 *
 * 1. The prompt and all messages are on standard error; standard output has the data only.
 * 2. An error does not end the shell. Commands from a pipe exit with 1 at the end when one of them failed.
 */
import { createInterface, type Interface } from "node:readline";
import { Command, CommanderError } from "commander";
import type { ByteStore } from "../byte-store.ts";
import { addExamples, type StoreCommand } from "../command.ts";
import { type CompletableCommand, complete } from "../completion.ts";
import { EXIT_FAILED, EXIT_NOT_FOUND, messageOf } from "../failure.ts";
import { HISTORY_COUNT_MAX, History } from "../history.ts";
import { Output } from "../output.ts";
import { KEY_BOUNDS } from "../range-options.ts";
import { formatCount } from "../text.ts";
import { splitWords } from "../words.ts";
import { count } from "./count.ts";
import { remove } from "./delete.ts";
import { get } from "./get.ts";
import { scan } from "./scan.ts";
import { set } from "./set.ts";
import { stats } from "./stats.ts";

const COMMANDS: Record<string, StoreCommand<never>> = { get, set, delete: remove, scan, count, stats };

const QUOTING = `Words are separated by spaces. '…' is taken as it is; "…" is a JSON string.
Tab completes commands, options and keys. Ctrl-C breaks off, Ctrl-D leaves.`;

export function define(command: Command): void {
  command.argument("<store>", "file or block device of the store; created when missing");
  addExamples(command, ["cairn shell app.cairn", "echo 'count --prefix user:' | cairn shell app.cairn"]);
  command.action(runShell);
}

async function runShell(target: string): Promise<void> {
  const { withStore } = await import("../byte-store.ts");
  const failedCount = await withStore(target, { create: true }, (store) => {
    const shell = new Shell(store);
    return process.stdin.isTTY && process.stderr.isTTY ? shell.prompt(target) : shell.read();
  });
  if (failedCount > 0) process.exitCode = EXIT_FAILED;
}

class Shell {
  readonly #store: ByteStore;
  readonly #output = new Output(process.stdout);
  #running: AbortController | undefined;

  constructor(store: ByteStore) {
    this.#store = store;
  }

  /** Runs a person's commands. What failed is seen, and so does not count: returns 0. */
  async prompt(target: string): Promise<number> {
    const history = new History();
    const commands = completableCommands();
    const lines = createInterface({
      input: process.stdin,
      output: process.stderr,
      terminal: true,
      prompt: "cairn> ",
      history: [...history.lines],
      historySize: HISTORY_COUNT_MAX,
      removeHistoryDuplicates: true,
      completer: (line: string) => this.#completions(line, commands),
    });
    lines.on("SIGINT", () => this.#breakOff(lines));
    const { keyCount } = this.#store.stats();
    console.error(`${target}: ${formatCount(keyCount)} ${keyCount === 1 ? "key" : "keys"}. "help" lists the commands.`);
    lines.prompt();
    for await (const line of lines) {
      history.add(line);
      if ((await this.#runLine(line)) === "exit") break;
      lines.prompt();
    }
    lines.close();
    return 0;
  }

  /** Runs the commands of standard input. Returns how many failed. */
  async read(): Promise<number> {
    let failedCount = 0;
    const lines = createInterface({ input: process.stdin, terminal: false, crlfDelay: Number.POSITIVE_INFINITY });
    for await (const line of lines) {
      const outcome = await this.#runLine(line);
      if (outcome === "exit" || this.#output.closed) break;
      if (outcome === "failed") failedCount += 1;
    }
    lines.close();
    process.stdin.destroy();
    return failedCount;
  }

  async #runLine(line: string): Promise<"done" | "failed" | "exit"> {
    try {
      const [name, ...words] = splitWords(line);
      if (name === undefined) return "done";
      if (name === "exit" || name === "quit") return "exit";
      if (name === "help") {
        printHelp(words[0]);
        return "done";
      }
      const status = await this.#runCommand(name, words);
      return status === 0 || status === EXIT_NOT_FOUND ? "done" : "failed";
    } catch (error) {
      // commander has printed its own.
      if (error instanceof CommanderError) return error.exitCode === 0 ? "done" : "failed";
      console.error(messageOf(error));
      return "failed";
    }
  }

  async #runCommand(name: string, words: string[]): Promise<number> {
    const spec = Object.hasOwn(COMMANDS, name) ? (COMMANDS[name] as StoreCommand) : undefined;
    if (!spec) {
      console.error(`there is no command ${JSON.stringify(name)}; "help" lists them`);
      return EXIT_FAILED;
    }
    const running = new AbortController();
    this.#running = running;
    let status = 0;
    const command = commandOf(name, spec).action(async () => {
      const args = command.processedArgs as (string | undefined)[];
      const call = { store: this.#store, output: this.#output, args, options: command.opts(), signal: running.signal };
      status = await spec.run(call);
    });
    try {
      await command.parseAsync(words, { from: "user" });
    } finally {
      this.#running = undefined;
      await this.#output.flush();
    }
    return status;
  }

  #completions(line: string, commands: CompletableCommand[]): [string[], string] {
    try {
      return complete(line, commands, this.#store);
    } catch {
      return [[], line];
    }
  }

  /** Ctrl-C: ends the running command, or drops the line. */
  #breakOff(lines: Interface): void {
    if (this.#running) {
      this.#running.abort();
      return;
    }
    console.error(lines.line === "" ? '\n("exit" or Ctrl-D leaves)' : "^C");
    lines.write(null, { ctrl: true, name: "e" });
    lines.write(null, { ctrl: true, name: "u" });
    lines.prompt();
  }
}

/** A fresh commander command: one keeps what it has parsed. */
function commandOf(name: string, spec: StoreCommand<never>): Command {
  const command = new Command(name).description(spec.summary).exitOverride().showSuggestionAfterError();
  command.configureOutput({
    writeOut: (text) => process.stderr.write(text),
    outputError: (text, write) => write(text.replace(/^error: /, "")),
  });
  spec.define(command);
  return command;
}

function completableCommands(): CompletableCommand[] {
  const known = Object.entries(COMMANDS).map(([name, spec]) => {
    const command = commandOf(name, spec);
    const options = command.options.map((option) => option.long as string);
    const keyOptions = options.filter((option) => KEY_BOUNDS.some((bound) => option === `--${bound}`));
    return { name, options, keyOptions, takesKey: command.registeredArguments[0]?.name() === "key" };
  });
  const others = ["help", "exit"].map((name) => ({ name, options: [], keyOptions: [], takesKey: false }));
  return [...known, ...others];
}

function printHelp(name: string | undefined): void {
  const spec = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (name !== undefined && spec) {
    console.error(commandOf(name, spec).helpInformation().trimEnd());
    return;
  }
  for (const [command, { summary }] of Object.entries(COMMANDS)) console.error(`  ${command.padEnd(8)}${summary}`);
  console.error(`  help    this, or the help of a command\n  exit    leave\n${QUOTING}`);
}
