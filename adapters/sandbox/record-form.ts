/** One record, to be read and changed. Writes are durable before the form says so. */
import { compareKeys } from "../key-bytes.ts";
import { bytesOf, type Form, hexOf, labelOf, textOf } from "../page/bytes.ts";
import { button, element, input } from "../page/elements.ts";
import { sized } from "../page/figures.ts";
import { ask, report, say } from "../page/messages.ts";
import { reasonOf } from "../page/reason.ts";
import type { Session } from "./session.ts";

/** Longest value that is edited here; of a longer one the beginning is shown. */
const EDITED_SIZE_MAX = 262_144;
const SHOWN_SIZE_MAX = 4_096;

/** A form over one record of the open store. */
export class RecordForm {
  private readonly session: Session;
  private readonly form = element("record-form", HTMLFormElement);
  private readonly key = input("record-key");
  private readonly keyForm = element("record-key-form", HTMLSelectElement);
  private readonly value = element("record-value", HTMLTextAreaElement);
  private readonly valueForm = element("record-value-form", HTMLSelectElement);
  private readonly note = element("record-note", HTMLOutputElement);
  /** Key of the record that is shown; none while a new one is typed. */
  private shown: Uint8Array | undefined;
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
      if (this.shown) void this.remove(this.shown);
    });
    this.keyForm.addEventListener("change", () => this.convert(this.key, this.keyForm, "one"));
    this.valueForm.addEventListener("change", () => this.convert(this.value, this.valueForm, "many"));
    this.clear();
  }

  /** An empty form for a new record. */
  clear(): void {
    this.turn++;
    this.shown = undefined;
    this.key.value = "";
    this.keyForm.value = "text";
    this.value.value = "";
    this.valueForm.value = "text";
    this.unlock();
    this.tell("New record");
  }

  /**
   * Shows the record of a key, which is edited only when it is there: whether it is shown. A later call, or `clear`, has
   * this one show nothing.
   */
  async show(key: Uint8Array): Promise<boolean> {
    const turn = ++this.turn;
    this.shown = undefined;
    this.lock();
    this.fillKey(key);
    this.value.value = "";
    this.tell("");
    let trouble: string;
    try {
      const value = await this.session.open.get(key);
      if (turn !== this.turn) return false;
      if (value !== undefined) {
        this.fill(key, value);
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
    return this.shown !== undefined && compareKeys(this.shown, key) === 0;
  }

  /** Moves the focus to where one begins to type. */
  focus(): void {
    (this.shown ? this.value : this.key).focus();
  }

  /** Deletes a record, after a question. */
  async remove(key: Uint8Array): Promise<void> {
    if (!(await ask(`Delete the record ${labelOf(key)}?`, "Delete"))) return;
    await this.attempt(async (isCurrent) => {
      const wasThere = await this.session.open.del(key);
      const done = wasThere ? `Deleted ${labelOf(key)}, durably.` : `${labelOf(key)} was not there any more.`;
      if (isCurrent()) {
        this.clear();
        this.tell(done);
      } else say(done);
      this.written(key);
    });
  }

  private fillKey(key: Uint8Array): void {
    const keyText = textOf(key, "one");
    this.key.value = keyText ?? hexOf(key);
    this.keyForm.value = keyText === undefined ? "hex" : "text";
  }

  private fill(key: Uint8Array, value: Uint8Array): void {
    const isEdited = value.length <= EDITED_SIZE_MAX;
    const bytes = isEdited ? value : value.subarray(0, SHOWN_SIZE_MAX);
    const valueText = textOf(bytes, "many");
    this.shown = key;
    this.fillKey(key);
    this.value.value = valueText ?? hexOf(bytes);
    this.valueForm.value = valueText === undefined ? "hex" : "text";
    this.unlock(isEdited);
    this.tell(isEdited ? sized(value.length) : `${sized(value.length)}: too long to edit here; this is its beginning`);
  }

  private async save(isCurrent: () => boolean): Promise<void> {
    // The keys that save know nothing of the button, and the button nothing of an answer that is awaited.
    if (this.form.ariaBusy === "true" || button("record-save").disabled) return;
    const value = bytesOf(this.value.value, this.valueForm.value as Form);
    const key = this.shown ?? bytesOf(this.key.value, this.keyForm.value as Form);
    this.lock();
    let isSaved: boolean;
    try {
      isSaved = await this.put(key, value);
    } finally {
      if (isCurrent()) this.unlock();
    }
    if (!isSaved) return;
    const done = `Saved ${sized(value.length)}, durably.`;
    if (isCurrent()) {
      this.fill(key, value);
      this.tell(done);
    } else say(done);
    this.written(key);
  }

  /** Writes a record, one that is new to the form only after a question: whether it was written. */
  private async put(key: Uint8Array, value: Uint8Array): Promise<boolean> {
    const { open } = this.session;
    // An empty key is left to the store, which says what a key may be.
    if (this.shown === undefined && key.length > 0 && (await open.has(key))) {
      const question = `There is a record ${labelOf(key)} already. Replace its value?`;
      if (!(await ask(question, "Replace"))) return false;
    }
    await open.put(key, value);
    return true;
  }

  /** Takes no typing while an answer is awaited that would overwrite it. */
  private lock(): void {
    this.form.ariaBusy = "true";
    this.key.readOnly = true;
    this.value.readOnly = true;
    this.keyForm.disabled = true;
    this.valueForm.disabled = true;
  }

  /** Takes typing again; the key of a record that is there stays as it is. */
  private unlock(isEdited = true): void {
    const isNew = this.shown === undefined;
    this.form.ariaBusy = "false";
    this.key.readOnly = !isNew;
    this.keyForm.disabled = !isNew;
    this.value.readOnly = !isEdited;
    this.valueForm.disabled = !isEdited;
    button("record-save").disabled = !isEdited;
    button("record-delete").disabled = isNew;
  }

  /** Shows what is in a field in the other form, or leaves it when that is impossible. */
  private convert(field: HTMLInputElement | HTMLTextAreaElement, form: HTMLSelectElement, lines: "one" | "many"): void {
    const wanted = form.value as Form;
    const before: Form = wanted === "hex" ? "text" : "hex";
    try {
      const bytes = bytesOf(field.value, before);
      const text = wanted === "hex" ? hexOf(bytes) : textOf(bytes, lines);
      if (text === undefined) throw new Error("These bytes are no text that a field can hold.");
      field.value = text;
      this.tell("");
    } catch (error) {
      form.value = before;
      this.tell(reasonOf(error), true);
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
