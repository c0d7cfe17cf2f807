/**
 * Puts `assembly/text/text.wat` into `build/cairn.wasm`, as the custom section `cairn.text`: hosts compile it apart, where
 * the engine can, and one file stays all that has to be shipped. Engines skip custom sections.
 */
import { readFileSync, writeFileSync } from "node:fs";
import binaryen from "binaryen";

const ROOT = new URL("../", import.meta.url);
const BINARY = new URL("build/cairn.wasm", ROOT);
const SECTION_NAME = "cairn.text";

/** @param {number} value */
function leb128(value) {
  const bytes = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest & 127) | 128);
  }
}

const module = binaryen.parseText(readFileSync(new URL("assembly/text/text.wat", ROOT), "utf8"));
module.setFeatures(binaryen.Features.ReferenceTypes | binaryen.Features.GC);
if (!module.validate()) throw new Error("assembly/text/text.wat is not valid");
const text = module.emitBinary();
module.dispose();

const core = readFileSync(BINARY);
const { length } = WebAssembly.Module.customSections(new WebAssembly.Module(core), SECTION_NAME);
if (length > 0) throw new Error(`build/cairn.wasm has a section ${SECTION_NAME} already: compile it anew first`);
const name = new TextEncoder().encode(SECTION_NAME);
const content = [...leb128(name.length), ...name, ...text];
writeFileSync(BINARY, Buffer.concat([core, Buffer.from([0, ...leb128(content.length), ...content])]));
