declare module "abstract-level/test" {
  /** Registers the tests of a database that `factory` makes, each with a location of its own. */
  export default function suite(options: {
    test: (name: string, run: (t: import("./tap.ts").Tap) => unknown) => void;
    factory: (options?: object) => object;
  }): void;
}
