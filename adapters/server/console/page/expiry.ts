/** When a record expires: shown while the time runs, and typed as seconds from now. */
import { element, input } from "../../../page/elements.ts";
import { Refusal } from "../../../page/reason.ts";

const TICK_MS = 500;

/** The field of a record's time to live. */
export class Expiry {
  private readonly field = input("record-ttl");
  private readonly left = element("record-expiry", HTMLOutputElement);
  private expiresAt: number | undefined;
  /** Whether what is in the field was typed: else the record keeps what it has. */
  private isTyped = false;

  constructor() {
    this.field.addEventListener("input", () => {
      this.isTyped = true;
      this.tick();
    });
    setInterval(() => this.tick(), TICK_MS);
  }

  /** Shows when a record expires, in milliseconds since the epoch; `undefined`: never. */
  show(expiresAt: number | undefined): void {
    this.expiresAt = expiresAt;
    this.isTyped = false;
    this.tick();
  }

  /** Takes no typing, or takes it again. */
  lock(isLocked: boolean): void {
    this.field.readOnly = isLocked;
  }

  /** The milliseconds to live that a write is to give; `undefined`: for good. */
  get ttlMs(): number | undefined {
    if (!this.isTyped) return this.expiresAt === undefined ? undefined : Math.max(1, this.expiresAt - Date.now());
    if (this.field.value === "" && this.field.validity.valid) return undefined;
    const seconds = this.field.valueAsNumber;
    if (seconds > 0 && seconds <= 1e10) return Math.ceil(seconds * 1000);
    throw new Refusal("The time to live is a number of seconds above 0; empty: for good.");
  }

  private tick(): void {
    const { expiresAt, isTyped, field } = this;
    if (isTyped) {
      this.left.textContent = "from when it is saved";
      return;
    }
    if (expiresAt === undefined) {
      field.value = "";
      this.left.textContent = "for good";
      return;
    }
    const seconds = Math.ceil((expiresAt - Date.now()) / 1000);
    field.value = String(Math.max(0, seconds));
    this.left.textContent =
      seconds > 0 ? `until ${new Date(expiresAt).toLocaleString("en-GB")}` : "expired while it was shown";
  }
}
