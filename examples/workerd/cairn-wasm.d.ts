/** What a Worker's import of the binary gives. */
declare module "cairn-kv/cairn.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
