# For `workerd serve config.capnp`. worker.js is the bundle of the example's, see README.md.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [ (name = "main", worker = .worker) ],
  sockets = [ (name = "http", address = "127.0.0.1:8080", http = (), service = "main") ]
);

const worker :Workerd.Worker = (
  modules = [
    (name = "worker", esModule = embed "bundle/worker.js"),
    (name = "cairn-kv/cairn.wasm", wasm = embed "node_modules/cairn-kv/build/cairn.wasm")
  ],
  compatibilityDate = "2026-11-01"
);
