/**
 * `cairn-kv/msgpack`: values, or keys, as MessagePack, by the package `@msgpack/msgpack`, which is an optional peer: install
 * it beside this one. It is JavaScript alone and runs wherever a store does.
 *
 * @module cairn-kv/msgpack
 */
import { type DecoderOptions, decode, type EncoderOptions, encode } from "@msgpack/msgpack";
import type { Codec } from "../hosts/node.ts";

/** Options of `@msgpack/msgpack` for both directions, such as `extensionCodec` and `useBigInt64`. */
export type MsgpackOptions = EncoderOptions<undefined> & DecoderOptions<undefined>;

/**
 * A codec of MessagePack with options of its own. Without any: numbers, strings, booleans, null, `Uint8Array`, `Date`, arrays
 * and plain objects; `undefined` comes back as `null`, and a bigint needs `useBigInt64: true`, which gives all 64-bit
 * integers back as bigints. What cannot be encoded is `INVALID_ARGUMENT` of the call, and changes nothing.
 *
 * @typeParam T - what the program promises to store; it is not checked.
 */
export function msgpackCodec<T = unknown>(options: MsgpackOptions = {}): Codec<T> {
  return {
    name: "msgpack",
    encode: (value) => encode(value, options),
    decode: (bytes) => decode(bytes, options) as T,
  };
}

/** MessagePack with its package's defaults: `open(path, { valueEncoding: msgpack })`. */
export const msgpack: Codec = msgpackCodec();
