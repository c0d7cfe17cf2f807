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

/**
 * Makes these the children of an element, in this order. Those that are there already stay in the document where their
 * order allows it: a button that is pressed when the list is made anew takes the click, and the focus stays.
 */
export function arrange(parent: Element, children: readonly Element[]): void {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  for (const [index, child] of children.entries()) {
    const present = parent.children[index] ?? null;
    if (present !== child) parent.insertBefore(child, present);
  }
}
