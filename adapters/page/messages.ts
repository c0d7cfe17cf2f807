/** What the page says: progress quietly, errors so that nobody misses them, questions before something is lost. */
import { button, element } from "./elements.ts";
import { isExpected, reasonOf } from "./reason.ts";

/** Says what was done; takes an error away. */
export function say(text: string): void {
  const alert = element("alert", HTMLParagraphElement);
  alert.hidden = true;
  alert.textContent = "";
  element("message", HTMLParagraphElement).textContent = text;
}

/** Shows an error until something succeeds. */
export function report(error: unknown): void {
  const alert = element("alert", HTMLParagraphElement);
  alert.textContent = reasonOf(error);
  alert.hidden = false;
  element("message", HTMLParagraphElement).textContent = "";
  if (!isExpected(error)) console.error(error);
}

/** Asks before something is lost: whether the answer was yes. */
export function ask(question: string, yes: string): Promise<boolean> {
  const dialog = element("question", HTMLDialogElement);
  element("question-text", HTMLParagraphElement).textContent = question;
  button("question-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  button("question-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
