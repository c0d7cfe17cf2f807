/** The elements of the page, by id and type. */

/** The element with an id. Throws when index.html has none of that type: then page and code do not fit. */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} with the id ${id}.`);
  return found;
}

/** A button by its id. */
export const button = (id: string): HTMLButtonElement => element(id, HTMLButtonElement);

/** An input by its id. */
export const input = (id: string): HTMLInputElement => element(id, HTMLInputElement);

/** A new element with text in it. */
export function create<K extends keyof HTMLElementTagNameMap>(tag: K, text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
