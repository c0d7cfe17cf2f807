/** Colours, where people look at them: on a terminal, and unless `NO_COLOR` asks for none. */

/** Paints text; without colours it gives the text as it is. */
export interface Painter {
  readonly hasColors: boolean;
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  /** On a background of the 256 colours of a terminal. */
  on(color: number, text: string): string;
}

/** A painter for standard output that is a terminal, or is not. See https://no-color.org. */
export function painterFor(isTerminal: boolean): Painter {
  const { NO_COLOR, TERM } = process.env;
  const hasColors = isTerminal && (NO_COLOR ?? "") === "" && TERM !== "dumb";
  const paint =
    (code: string) =>
    (text: string): string =>
      hasColors ? `\u001b[${code}m${text}\u001b[0m` : text;
  return {
    hasColors,
    bold: paint("1"),
    dim: paint("2"),
    good: paint("32"),
    bad: paint("1;31"),
    on: (color, text) => paint(`48;5;${color};38;5;255;1`)(text),
  };
}
