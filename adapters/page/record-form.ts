/** One record, to be read and changed: as text or as hex, or in a form that a page adds. Writes are durable before the form says so. */
import { compareKeys } from "../key-bytes.ts";
import { bytesOf, type Form, hexOf, labelOf, textOf } from "./bytes.ts";
import { button, element, input } from "./elements.ts";
import { counted, sized } from "./figures.ts";
import { ask, report, say } from "./messages.ts";
import { Refusal, reasonOf } from "./reason.ts";

/** Longest value that is edited on a page, in bytes; of a longer one the beginning is shown. */
export const EDITED_SIZE_MAX = 262_144;
/** Bytes of that beginning. */
export const SHOWN_SIZE_MAX = 4_096;

/** A record, as it was when it was read. */
export interface ShownRecord {
  key: Uint8Array;
  /** The value, or the beginning of one that is too long to be edited. */
  value: Uint8Array;
  /** Bytes of the value; `undefined`: more than are edited, and nobody has said how many. */
  size: number | undefined;
  isWhole: boolean;
  mayWrite: boolean;
  mayDelete: boolean;
}

/** What the select of the value offers: JSON not on every page. */
type ValueForm = Form | "json";

/** A form over one record: of a store, as the class says that extends it. `start` it before anything else. */
export abstract class RecordForm<R extends ShownRecord = ShownRecord> {
  protected readonly value = element("record-value", HTMLTextAreaElement);
  /** The form that the value is in: the select has the next one already when it changes. */
  protected present: ValueForm = "text";
  private readonly form = element("record-form", HTMLFormElement);
  private readonly key = input("record-key");
  private readonly keyForm = element("record-key-form", HTMLSelectElement);
  private readonly valueForm = element("record-value-form", HTMLSelectElement);
  private readonly note = element("record-note", HTMLOutputElement);
  /** The record that is shown; none while a new one is typed. */
  private shown: R | undefined;
  /** Counts what the form was put to: what belongs to an earlier record touches it no more. */
  private turn = 0;
  private written: (key: Uint8Array) => void = () => undefined;

  /** The record of a key; `undefined`: there is none. */
  protected abstract read(key: Uint8Array): Promise<R | undefined>;

  /** Writes a value over the record that was seen, `undefined` where none was; over another one only after a question: what was written. */
  protected abstract write(
    key: Uint8Array,
    value: Uint8Array<ArrayBuffer>,
    seen: R | undefined,
  ): Promise<R | undefined>;

  /** Deletes a record: whether it was there. */
  protected abstract delete(key: Uint8Array): Promise<boolean>;

  /** Takes typing. `written` is told of each record that was saved or deleted here; `left` that the form was left by key. */
  start(written: (key: Uint8Array) => void, left: () => void): void {
    this.written = written;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.attempt((isCurrent) => this.save(isCurrent));
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") left();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
      else return;
      event.preventDefault();
    });
    button("record-delete").addEventListener("click", () => {
      if (this.shown) void this.remove(this.shown.key);
    });
    this.keyForm.addEventListener("change", () => this.convertKey());
    this.valueForm.addEventListener("change", () => this.convertValue());
    this.clear();
  }

  /** An empty form for a new record. */
  clear(): void {
    this.turn++;
    this.take(undefined);
    this.key.value = "";
    this.keyForm.value = "text";
    this.put("", "text");
    this.unlock();
    this.tell("New record");
  }

  /**
   * Shows the record of a key, which is edited only when it is there: whether it is shown. A later call, or `clear`, has
   * this one show nothing.
   */
  async show(key: Uint8Array): Promise<boolean> {
    const turn = ++this.turn;
    this.take(undefined);
    this.lock();
    this.fillKey(key);
    this.put("", this.present);
    this.tell("");
    let trouble: string;
    try {
      const record = await this.read(key);
      if (turn !== this.turn) return false;
      if (record !== undefined) {
        this.fill(record);
        return true;
      }
      trouble = `${labelOf(key)} is not there any more.`;
    } catch (error) {
      if (turn !== this.turn) return false;
      trouble = reasonOf(error);
    }
    this.clear();
    this.tell(trouble, true);
    return false;
  }

  /** Whether it is the record of this key that is shown. */
  shows(key: Uint8Array): boolean {
    return this.shown !== undefined && compareKeys(this.shown.key, key) === 0;
  }

  /** Moves the focus to where one begins to type. */
  focus(): void {
    (this.shown ? this.value : this.key).focus();
  }

  /** Deletes a record, after a question. */
  async remove(key: Uint8Array): Promise<void> {
    if (!(await ask(`Delete the record ${labelOf(key)}?`, "Delete"))) return;
    await this.attempt(async (isCurrent) => {
      const wasThere = await this.delete(key);
      const done = wasThere ? `Deleted ${labelOf(key)}, durably.` : `${labelOf(key)} was not there any more.`;
      if (isCurrent()) {
        this.clear();
        this.tell(done);
      } else say(done);
      this.written(key);
    });
  }

  /** A record is the one that is shown from now on; `undefined`: none is. */
  protected take(record: R | undefined): void {
    this.shown = record;
  }

  /** Puts a text into the field of the value, and says which form it is in. */
  protected put(text: string, form: ValueForm): void {
    this.value.value = text;
    this.present = form;
    this.valueForm.value = form;
  }

  /** What was typed, as bytes. Throws where it is not what the form asks for. */
  protected typed(): Uint8Array<ArrayBuffer> {
    return bytesOf(this.value.value, this.present === "hex" ? "hex" : "text");
  }

  /** The form that suits a value which is text. */
  protected formOf(_text: string, _record: R): ValueForm {
    return "text";
  }

  /** What is said of a record when it is shown. */
  protected noteOf({ size, isWhole }: R): string {
    const length = size === undefined ? `more than ${sized(EDITED_SIZE_MAX)}` : sized(size);
    return isWhole ? length : `${length}: too long to edit here; this is its beginning`;
  }

  /** Takes no typing while an answer is awaited that would overwrite it. */
  protected lock(): void {
    this.form.ariaBusy = "true";
    this.key.readOnly = true;
    this.value.readOnly = true;
    this.keyForm.disabled = true;
    this.valueForm.disabled = true;
  }

  /** Takes typing again, of whoever may; the key of a record that is there stays as it is. */
  protected unlock(): void {
    const { shown } = this;
    const isEdited = shown === undefined || (shown.isWhole && shown.mayWrite);
    this.form.ariaBusy = "false";
    this.key.readOnly = shown !== undefined;
    this.keyForm.disabled = shown !== undefined;
    this.value.readOnly = !isEdited;
    this.valueForm.disabled = shown?.isWhole === false;
    button("record-save").disabled = !isEdited;
    button("record-delete").disabled = shown?.mayDelete !== true;
  }

  private fillKey(key: Uint8Array): void {
    const text = textOf(key, "one");
    this.key.value = text ?? hexOf(key);
    this.keyForm.value = text === undefined ? "hex" : "text";
  }

  /** Shows a record in the form that was asked for, or in the one that suits it. */
  private fill(record: R, wanted?: ValueForm): void {
    this.take(record);
    this.fillKey(record.key);
    const text = wanted === "hex" ? undefined : textOf(record.value, "many");
    if (text === undefined) this.put(hexOf(record.value), "hex");
    else this.put(text, wanted ?? this.formOf(text, record));
    this.unlock();
    this.tell(this.noteOf(record));
  }

  private async save(isCurrent: () => boolean): Promise<void> {
    // The keys that save know nothing of the button, and the button nothing of an answer that is awaited.
    if (this.form.ariaBusy === "true" || button("record-save").disabled) return;
    const value = this.typed();
    const { shown } = this;
    const key = shown?.key ?? bytesOf(this.key.value, this.keyForm.value as Form);
    this.lock();
    let saved: R | undefined;
    try {
      saved = await this.write(key, value, shown);
    } finally {
      if (isCurrent()) this.unlock();
    }
    if (saved === undefined) return;
    const done = `Saved ${sized(value.length)}, durably.`;
    if (isCurrent()) {
      this.fill(saved, this.present);
      this.tell(done);
    } else say(done);
    this.written(key);
  }

  private convertKey(): void {
    const isHex = this.keyForm.value === "hex";
    const converted = this.converted(this.key.value, !isHex, isHex, "one");
    if (converted === undefined) this.keyForm.value = isHex ? "text" : "hex";
    else this.key.value = converted;
  }

  private convertValue(): void {
    const wanted = this.valueForm.value as ValueForm;
    const converted = this.converted(this.value.value, this.present !== "hex", wanted === "hex", "many");
    if (converted === undefined) this.valueForm.value = this.present;
    else this.put(converted, wanted);
  }

  /** What is in a field in another form; `undefined`, and said, where that is impossible. */
  private converted(text: string, isText: boolean, toHex: boolean, lines: "one" | "many"): string | undefined {
    if (isText === !toHex) return text;
    try {
      const bytes = bytesOf(text, isText ? "text" : "hex");
      const other = toHex ? hexOf(bytes) : textOf(bytes, lines);
      if (other === undefined) throw new Refusal("These bytes are no text that a field can hold.");
      this.tell(`${counted(bytes.length)} bytes`);
      return other;
    } catch (error) {
      this.tell(reasonOf(error), true);
      return undefined;
    }
  }

  private tell(text: string, isBad = false): void {
    this.note.textContent = text;
    this.note.classList.toggle("bad", isBad);
  }

  /** Does something that takes a while; `isCurrent` says whether the form is still put to the same record. */
  private async attempt(work: (isCurrent: () => boolean) => Promise<void>): Promise<void> {
    const { turn } = this;
    const isCurrent = (): boolean => turn === this.turn;
    try {
      await work(isCurrent);
    } catch (error) {
      if (isCurrent()) this.tell(reasonOf(error), true);
      else report(error);
    }
  }
}
