/** One record, to be read and changed: as text, as checked JSON, or as hex. Writes are durable before the form says so. */
import { compareKeys } from "../../../key-bytes.ts";
import { bytesOf, hexOf, labelOf, textOf } from "../../../page/bytes.ts";
import { button, element, input } from "../../../page/elements.ts";
import { counted, sized } from "../../../page/figures.ts";
import { ask, report, say } from "../../../page/messages.ts";
import { Refusal, reasonOf } from "../../../page/reason.ts";
import type { Api } from "./api.ts";
import { Expiry } from "./expiry.ts";
import { faultOf, isDocument, laidOut } from "./json-text.ts";
import { deleteRecord, readRecord, type Shown, writeRecord } from "./record.ts";
import type { Session } from "./session.ts";

type Form = "text" | "json" | "hex";

/** A form over one record. */
export class RecordForm {
  private readonly session: Session;
  private readonly form = element("record-form", HTMLFormElement);
  private readonly key = input("record-key");
  private readonly keyForm = element("record-key-form", HTMLSelectElement);
  private readonly value = element("record-value", HTMLTextAreaElement);
  private readonly valueForm = element("record-value-form", HTMLSelectElement);
  private readonly fault = element("record-fault", HTMLParagraphElement);
  private readonly note = element("record-note", HTMLOutputElement);
  private readonly expiry = new Expiry();
  /** The form that the value is in: the select has the next one already when it changes. */
  private present: Form = "text";
  /** The record that is shown; none while a new one is typed. */
  private shown: Shown | undefined;
  private mayWrite = false;
  private mayDelete = false;
  /** Counts what the form was put to: what belongs to an earlier record touches it no more. */
  private turn = 0;
  private readonly written: (key: Uint8Array) => void;

  /** `written` is told of each record that was saved or deleted here; `left` that the form was left by key. */
  constructor(session: Session, written: (key: Uint8Array) => void, left: () => void) {
    this.session = session;
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
    this.value.addEventListener("input", () => this.check());
    button("record-layout").addEventListener("click", () => {
      if (faultOf(this.value.value) === undefined) this.value.value = laidOut(this.value.value);
      this.check();
    });
    this.clear();
  }

  /** An empty form for a new record. */
  clear(): void {
    this.turn++;
    this.shown = undefined;
    this.mayWrite = this.session.api !== undefined;
    this.mayDelete = false;
    this.key.value = "";
    this.keyForm.value = "text";
    this.put("", "text");
    this.expiry.show(undefined);
    this.unlock();
    this.tell("New record");
  }

  /** Shows the record of a key, which is edited only when it is there: whether it is shown. A later call has this one show nothing. */
  async show(key: Uint8Array): Promise<boolean> {
    const { api } = this.session;
    const turn = ++this.turn;
    if (api === undefined) return false;
    this.shown = undefined;
    this.lock();
    this.fillKey(key);
    this.put("", this.present);
    this.expiry.show(undefined);
    this.tell("");
    let trouble: string;
    try {
      const [record, verbs] = await Promise.all([readRecord(api, key), this.verbsFor(api, key)]);
      if (turn !== this.turn) return false;
      if (record !== undefined) {
        this.mayWrite = verbs.includes("write");
        this.mayDelete = verbs.includes("delete");
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
    const { api } = this.session;
    if (api === undefined || !(await ask(`Delete the record ${labelOf(key)}?`, "Delete"))) return;
    await this.attempt(async (isCurrent) => {
      const wasThere = await deleteRecord(api, key);
      const done = wasThere ? `Deleted ${labelOf(key)}, durably.` : `${labelOf(key)} was not there any more.`;
      if (isCurrent()) {
        this.clear();
        this.tell(done);
      } else say(done);
      this.written(key);
    });
  }

  private async verbsFor(api: Api, key: Uint8Array): Promise<string[]> {
    const { all } = this.session.rights;
    if (all.includes("write") && all.includes("delete")) return all;
    return (await api.rights({ key })).key ?? [];
  }

  private fillKey(key: Uint8Array): void {
    const keyText = textOf(key, "one");
    this.key.value = keyText ?? hexOf(key);
    this.keyForm.value = keyText === undefined ? "hex" : "text";
  }

  /** Shows a record in the form that was asked for, or in the one that suits it. */
  private fill(record: Shown, wanted?: Form): void {
    const { key, value, size, isWhole, expiresAt } = record;
    this.shown = record;
    this.fillKey(key);
    const text = wanted === "hex" ? undefined : textOf(value, "many");
    if (text === undefined) this.put(hexOf(value), "hex");
    else this.put(text, wanted ?? (isWhole && isDocument(text) ? "json" : "text"));
    this.expiry.show(expiresAt);
    this.unlock();
    const length = size === undefined ? "more than 256 KiB" : sized(size);
    if (!isWhole) this.tell(`${length}: too long to edit here; this is its beginning`);
    else this.tell(this.mayWrite ? length : `${length}; this API key may only read it`);
  }

  private async save(isCurrent: () => boolean): Promise<void> {
    const { api } = this.session;
    // The keys that save know nothing of the button, and the button nothing of an answer that is awaited.
    if (api === undefined || this.form.ariaBusy === "true" || button("record-save").disabled) return;
    const value = this.typed();
    const { shown, present } = this;
    const key = shown?.key ?? bytesOf(this.key.value, this.keyForm.value as "text" | "hex");
    const ttlMs = this.expiry.ttlMs;
    this.lock();
    let tag: string | undefined;
    try {
      tag = await this.write(api, key, value, ttlMs);
    } finally {
      if (isCurrent()) this.unlock();
    }
    if (tag === undefined) return;
    const done = `Saved ${sized(value.length)}, durably.`;
    if (isCurrent()) {
      this.mayDelete ||= this.session.mayAll("delete");
      const expiresAt = ttlMs === undefined ? undefined : Date.now() + ttlMs;
      this.fill({ key, value, size: value.length, isWhole: true, tag, expiresAt }, present);
      this.tell(done);
    } else say(done);
    this.written(key);
  }

  /** What was typed, as bytes. Throws where it is not what the form asks for. */
  private typed(): Uint8Array<ArrayBuffer> {
    const { present, value } = this;
    const fault = present === "json" ? faultOf(value.value) : undefined;
    if (fault !== undefined) throw new Refusal(`This is no JSON, and was not saved: ${fault}`);
    return new Uint8Array(bytesOf(value.value, present === "hex" ? "hex" : "text"));
  }

  /** Writes over what was seen, or what is new; over something else only after a question. The tag; `undefined`: not written. */
  private async write(
    api: Api,
    key: Uint8Array,
    value: Uint8Array<ArrayBuffer>,
    ttlMs: number | undefined,
  ): Promise<string | undefined> {
    const tag = await writeRecord(api, key, value, this.shown?.tag ?? null, ttlMs);
    if (tag !== undefined) return tag;
    const question =
      this.shown === undefined
        ? `There is a record ${labelOf(key)} already. Replace its value?`
        : `Somebody else has changed or deleted ${labelOf(key)} since it was read. Write this value nevertheless?`;
    return (await ask(question, "Replace")) ? writeRecord(api, key, value, undefined, ttlMs) : undefined;
  }

  /** Takes no typing while an answer is awaited that would overwrite it. */
  private lock(): void {
    this.form.ariaBusy = "true";
    this.key.readOnly = true;
    this.value.readOnly = true;
    this.keyForm.disabled = true;
    this.valueForm.disabled = true;
    this.expiry.lock(true);
  }

  /** Takes typing again, of whoever may; the key of a record that is there stays as it is. */
  private unlock(): void {
    const isNew = this.shown === undefined;
    const isEdited = this.mayWrite && (this.shown?.isWhole ?? true);
    this.form.ariaBusy = "false";
    this.key.readOnly = !isNew;
    this.keyForm.disabled = !isNew;
    this.value.readOnly = !isEdited;
    this.valueForm.disabled = this.shown?.isWhole === false;
    this.expiry.lock(!isEdited);
    button("record-save").disabled = !isEdited;
    button("record-delete").disabled = isNew || !this.mayDelete;
    this.check();
  }

  private put(text: string, form: Form): void {
    this.value.value = text;
    this.change(form);
  }

  private change(form: Form): void {
    this.present = form;
    this.valueForm.value = form;
    this.check();
  }

  /** Says while it is typed what is wrong with JSON. */
  private check(): void {
    const isJson = this.present === "json";
    const fault = isJson ? faultOf(this.value.value) : undefined;
    this.fault.textContent = fault ?? "";
    this.fault.hidden = fault === undefined;
    this.value.setAttribute("aria-invalid", String(fault !== undefined));
    button("record-layout").hidden = !isJson;
    button("record-layout").disabled = fault !== undefined || this.value.readOnly;
  }

  private convertKey(): void {
    const isHex = this.keyForm.value === "hex";
    const converted = this.converted(this.key.value, !isHex, isHex, "one");
    if (converted === undefined) this.keyForm.value = isHex ? "text" : "hex";
    else this.key.value = converted;
  }

  private convertValue(): void {
    const wanted = this.valueForm.value as Form;
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
