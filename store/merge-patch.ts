/** JSON merge patch, RFC 7396. */

/**
 * What a value becomes under a patch: an object patches member by member, `null` takes a member away, anything else is the
 * new value. Neither of both is changed; what is returned may share parts with them.
 */
export function mergePatch(value: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const root = copyOf(value);
  // Without recursion, for a patch may be nested deeply.
  const open: [target: Record<string, unknown>, patch: Record<string, unknown>][] = [[root, patch]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [target, from] = next;
    for (const [name, member] of Object.entries(from)) {
      if (member === null || member === undefined) {
        delete target[name];
      } else if (isObject(member)) {
        const inner = copyOf(Object.hasOwn(target, name) ? target[name] : undefined);
        put(target, name, inner);
        open.push([inner, member]);
      } else {
        put(target, name, member);
      }
    }
  }
  return root;
}

/** An object that JSON writes as one, member by member. */
function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function copyOf(value: unknown): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  if (isObject(value)) for (const [name, member] of Object.entries(value)) put(copy, name, member);
  return copy;
}

/** A member of the object's own, also when its name is `__proto__`. */
function put(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== "__proto__") target[name] = value;
  else Object.defineProperty(target, name, { value, writable: true, enumerable: true, configurable: true });
}
