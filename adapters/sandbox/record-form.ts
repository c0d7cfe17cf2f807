/** One record, to be read and changed. Writes are durable before the form says so. */
import { bytesOf, type Form, hexOf, labelOf, textOf } from "./bytes.ts";
import { button, element, input } from "./elements.ts";
import { sized } from "./figures.ts";
import { ask } from "./messages.ts";
import { reasonOf } from "./reason.ts";
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
  private readonly written: (key: Uint8Array, removed: boolean) => void;

  /** `written` is told of each record that was saved or deleted here; `left` that the form was left by key. */
  constructor(session: Session, written: (key: Uint8Array, removed: boolean) => void, left: () => void) {
    this.session = session;
    this.written = written;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.attempt(() => this.save());
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
    this.shown = undefined;
    this.key.value = "";
    this.key.readOnly = false;
    this.keyForm.value = "text";
    this.keyForm.disabled = false;
    this.value.value = "";
    this.value.readOnly = false;
    this.valueForm.value = "text";
    this.valueForm.disabled = false;
    button("record-save").disabled = false;
    button("record-delete").disabled = true;
    this.tell("New record");
  }

  /** Shows the record of a key. */
  async show(key: Uint8Array): Promise<void> {
    await this.attempt(async () => {
      const value = await this.session.open.get(key);
      if (value === undefined) {
        this.clear();
        this.tell(`${labelOf(key)} is not there any more.`, true);
        return;
      }
      this.fill(key, value);
    });
  }

  /** Moves the focus to where one begins to type. */
  focus(): void {
    (this.shown ? this.value : this.key).focus();
  }

  /** Deletes a record, after a question. */
  async remove(key: Uint8Array): Promise<void> {
    await this.attempt(async () => {
      if (!(await ask(`Delete the record ${labelOf(key)}?`, "Delete"))) return;
      const wasThere = await this.session.open.del(key);
      this.clear();
      this.tell(wasThere ? `Deleted ${labelOf(key)}, durably.` : `${labelOf(key)} was not there any more.`);
      this.written(key, true);
    });
  }

  private fill(key: Uint8Array, value: Uint8Array): void {
    const keyText = textOf(key, "one");
    const isEdited = value.length <= EDITED_SIZE_MAX;
    const bytes = isEdited ? value : value.subarray(0, SHOWN_SIZE_MAX);
    const valueText = textOf(bytes, "many");
    this.shown = key;
    this.key.value = keyText ?? hexOf(key);
    this.key.readOnly = true;
    this.keyForm.value = keyText === undefined ? "hex" : "text";
    this.keyForm.disabled = true;
    this.value.value = valueText ?? hexOf(bytes);
    this.value.readOnly = !isEdited;
    this.valueForm.value = valueText === undefined ? "hex" : "text";
    this.valueForm.disabled = !isEdited;
    button("record-save").disabled = !isEdited;
    button("record-delete").disabled = false;
    this.tell(isEdited ? sized(value.length) : `${sized(value.length)}: too long to edit here; this is its beginning`);
  }

  private async save(): Promise<void> {
    const { open } = this.session;
    const value = bytesOf(this.value.value, this.valueForm.value as Form);
    let key = this.shown;
    if (key === undefined) {
      key = bytesOf(this.key.value, this.keyForm.value as Form);
      // An empty key is left to the store, which says what a key may be.
      if (key.length > 0 && (await open.has(key))) {
        const question = `There is a record ${labelOf(key)} already. Replace its value?`;
        if (!(await ask(question, "Replace"))) return;
      }
    }
    await open.put(key, value);
    this.fill(key, value);
    this.tell(`Saved ${sized(value.length)}, durably.`);
    this.written(key, false);
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

  private async attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.tell(reasonOf(error), true);
    }
  }
}
