/**
 * Text in and out by the JS string builtins of WebAssembly, for runtimes without `Buffer`: 100 characters take 100 ns to
 * write in Chromium where `encodeInto` takes 360, and 80 to read where `TextDecoder` takes 190. The module that does it is
 * a custom section of the binary; see `assembly/text/text.wat`.
 */
import type { TextAccess } from "../store/core.ts";
import { browserText } from "./browser-text.ts";

const SECTION_NAME = "cairn.text";
/** Longer strings read faster by `TextDecoder`. */
const READ_SIZE_MAX = 256;

/** The exports of `text.wat`. */
interface TextExports {
  write(text: string, at: number): number;
  read(at: number, size: number): string;
}

/** The builtins are asked for when compiling; the library's types do not know of them. */
const compile = WebAssembly.compile as (
  bytes: ArrayBuffer,
  options: { builtins: string[] },
) => Promise<WebAssembly.Module>;

/**
 * The way between text and memory that the binary brings, or `undefined` where it brings none, where the runtime forbids
 * compiling, or where it has no such builtins: an engine that knows them takes their imports away.
 */
export async function builtinText(
  binary: WebAssembly.Module,
): Promise<((memory: WebAssembly.Memory) => TextAccess) | undefined> {
  const [section] = WebAssembly.Module.customSections(binary, SECTION_NAME);
  if (section === undefined) return undefined;
  let module: WebAssembly.Module;
  try {
    module = await compile(section, { builtins: ["js-string"] });
  } catch {
    return undefined;
  }
  if (WebAssembly.Module.imports(module).length !== 1) return undefined;
  return (memory) => {
    const { read, write } = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as TextExports;
    const plain = browserText(memory);
    return {
      ...plain,
      ascii: (start, end) => (end - start <= READ_SIZE_MAX ? read(start, end - start) : plain.ascii(start, end)),
      writeAscii: write,
    };
  };
}
