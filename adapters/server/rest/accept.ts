/** Which form of an answer a client prefers. */

/** The form that `Accept` asks for first, of those offered; the first of them where it says nothing of any. */
export function preferred<Form extends string>(
  accept: string | undefined,
  offers: readonly (readonly [string, Form])[],
): Form {
  const [first] = offers as readonly [readonly [string, Form]];
  if (accept === undefined || accept === "*/*" || accept === first[0]) return first[1];
  let best = first[1];
  let bestQuality = 0;
  let bestExactness = 0;
  for (const item of accept.split(",", 32)) {
    const [type = "", ...parameters] = item.split(";", 8).map((part) => part.trim().toLowerCase());
    const quality = qualityOf(parameters);
    if (quality === 0) continue;
    const exactness = type === "*/*" ? 1 : type.endsWith("/*") ? 2 : 3;
    for (const [offered, form] of offers) {
      if (exactness === 3 ? offered !== type : exactness === 2 && !offered.startsWith(type.slice(0, -1))) continue;
      if (quality > bestQuality || (quality === bestQuality && exactness > bestExactness)) {
        best = form;
        bestQuality = quality;
        bestExactness = exactness;
      }
      break;
    }
  }
  return best;
}

function qualityOf(parameters: readonly string[]): number {
  const given = parameters.find((parameter) => parameter.startsWith("q="));
  if (given === undefined) return 1;
  const quality = Number(given.slice(2));
  return quality >= 0 && quality <= 1 ? quality : 0;
}

/** The media type of a body, in lower case, without its parameters; "" where there is none. */
export function mediaType(contentType: string | undefined): string {
  return (contentType ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

/** Whether a body says that its text is something else than UTF-8. */
export function hasOtherCharset(contentType: string | undefined): boolean {
  const lower = (contentType ?? "").toLowerCase();
  const at = lower.indexOf("charset=");
  if (at < 0) return false;
  const charset =
    lower
      .slice(at + 8)
      .split(";", 1)[0]
      ?.trim()
      .replaceAll('"', "") ?? "";
  return charset !== "utf-8" && charset !== "utf8" && charset !== "us-ascii";
}
