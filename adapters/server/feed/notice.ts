/** What a connection is told about one change: written once, whoever reads it. */
import { base64Of, textOf } from "../bytes-as-text.ts";

/** One change of one key, as HPKV's clients are told about it. */
export class Notice {
  readonly key: string;
  private readonly value: string | Uint8Array | null;
  private readonly at: number;
  private written: string | undefined;

  /** `value`: bytes as they are stored, text in their place, or `null` for a deletion. `at`: milliseconds since the epoch. */
  constructor(key: string, value: string | Uint8Array | null, at: number) {
    this.key = key;
    this.value = value;
    this.at = at;
  }

  /** The frame, which is made when it is asked for first. */
  get frame(): string {
    this.written ??= `{"type":"notification","key":${JSON.stringify(this.key)},${this.members()},"timestamp":${this.at}}`;
    return this.written;
  }

  private members(): string {
    const { value } = this;
    if (value === null) return '"value":null';
    const text = typeof value === "string" ? value : textOf(value);
    if (text !== undefined) return `"value":${JSON.stringify(text)}`;
    return `"value":"${base64Of(value as Uint8Array)}","encoding":"base64"`;
  }
}
