/** Signing in with an API key, and out; and what is shown to whom. */
import { button, element, input } from "../../../page/elements.ts";
import { say } from "../../../page/messages.ts";
import { reasonOf } from "../../../page/reason.ts";
import { ApiError } from "./api.ts";
import type { Session } from "./session.ts";

/** Tabs for administrators of the store as a whole. */
const OPERATORS_TABS = ["activity", "segments", "slow", "backup"];

/** Sets the form up, and signs in with the key that was kept. `signedIn` is told of each person who comes in. */
export function startSignIn(session: Session, signedIn: () => void): void {
  const form = element("sign-in-form", HTMLFormElement);
  const key = input("api-key");
  const keep = input("api-key-keep");
  const note = element("sign-in-note", HTMLParagraphElement);
  const who = element("who", HTMLParagraphElement);

  function tell(text: string, isBad = false): void {
    note.textContent = text;
    note.classList.toggle("bad", isBad);
  }

  function refused(error: unknown): void {
    const isUnknown = error instanceof ApiError && error.status === 401;
    tell(isUnknown ? "This API key does not count: it is unknown, expired or revoked." : reasonOf(error), true);
    key.select();
    key.focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const submit = button("sign-in");
    if (submit.disabled) return;
    submit.disabled = true;
    tell("");
    session
      .signIn(key.value.trim(), keep.checked)
      .catch(refused)
      .finally(() => {
        submit.disabled = false;
      });
  });
  button("sign-out").addEventListener("click", () => {
    tell("");
    session.signOut();
  });

  let wasIn = false;
  session.onChange(() => {
    const { api, rights } = session;
    const isIn = api !== undefined;
    document.body.classList.toggle("signed-in", isIn);
    element("sign-in-panel", HTMLElement).hidden = isIn;
    element("work", HTMLElement).hidden = !isIn;
    button("sign-out").hidden = !isIn;
    who.textContent = isIn ? `${rights.tenant} · key ${rights.id}` : "";
    for (const tab of OPERATORS_TABS) button(`tab-${tab}`).hidden = !session.mayAll("admin");
    // The key is nowhere on the page once it was taken.
    key.value = "";
    say("");
    if (isIn) {
      signedIn();
    } else {
      if (wasIn && note.textContent === "") tell("You are signed out.");
      key.focus();
    }
    wasIn = isIn;
  });

  session.resume().then((isIn) => {
    if (!isIn) key.focus();
  }, refused);
}
