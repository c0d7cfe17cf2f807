/**
 * What Node, Bun and Deno have in common: files and block devices through `node:fs`, the binary from a file, an exit hook,
 * text through the string methods of `Buffer`.
 */
import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { TextAccess } from "../store/core.ts";
import { CairnError } from "../store/error.ts";
import { fileExchange, fileSwap } from "./file-exchange.ts";
import { openTarget, type SystemFiles } from "./node-target.ts";
import type { Runtime } from "./opening.ts";
import { refusal } from "./refusal.ts";

/** The string methods that all three runtimes give every buffer, beyond those that types know of. */
export interface TextBuffer extends Buffer {
  latin1Slice(start: number, end: number): string;
  utf8Slice(start: number, end: number): string;
  utf8Write(text: string, offset: number, size: number): number;
}

/** How a runtime differs from the others. */
export interface Peculiarities {
  /** Its fastest ways between strings and a buffer over the whole memory. */
  text(buffer: TextBuffer): TextAccess;
  files?: SystemFiles;
  /** Whether its exit hooks are not called when an error that nobody caught ends the process. */
  exitMissesErrors?: boolean;
}

/** The runtime over `node:fs`. */
export function systemRuntime({ text, files, exitMissesErrors = false }: Peculiarities): Runtime {
  return {
    async loadModule() {
      const url = new URL("../cairn.wasm", import.meta.url);
      if (url.protocol !== "file:") throw bundledAway(url);
      let bytes: Uint8Array<ArrayBuffer>;
      try {
        bytes = new Uint8Array(await readFile(url));
      } catch (cause) {
        throw refusal(fileURLToPath(url), "read", cause);
      }
      return WebAssembly.compile(bytes);
    },
    openTarget: (target, options) => openTarget(target, options, files),
    exchange: fileExchange,
    swap: fileSwap,
    text: (memory) => text(Buffer.from(memory.buffer) as TextBuffer),
    onExit(callback) {
      if (leaving.size === 0) {
        process.on("exit", atExit);
        if (exitMissesErrors) process.on("uncaughtExceptionMonitor", atError);
      }
      leaving.add(callback);
      return () => {
        if (!leaving.delete(callback) || leaving.size > 0) return;
        process.off("exit", atExit);
        process.off("uncaughtExceptionMonitor", atError);
      };
    },
  };
}

/** What open stores do when the process ends: behind one listener, since a runtime warns of many. */
const leaving = new Set<(mayGoOn: boolean) => void>();

function atExit(): void {
  for (const callback of leaving) callback(false);
}

/** A program may catch such an error after all, and go on. */
function atError(): void {
  for (const callback of leaving) callback(true);
}

/** A bundler that means to serve the binary to browsers gives it an address where there is no file. */
function bundledAway(url: URL): CairnError {
  return new CairnError(
    "UNSUPPORTED",
    "open",
    `open: the bundler gave cairn.wasm the address ${url.href}, which is no file. Leave the package cairn-kv out of the bundle, or pass the compiled module as the option wasm.`,
  );
}
