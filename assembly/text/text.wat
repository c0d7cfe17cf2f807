;; ASCII text between the host's strings and the memory of the core, for hosts without `Buffer`. A module of its own, which
;; `scripts/text-module.mjs` puts into cairn.wasm as a custom section: its imports are the JS string builtins, which not
;; every engine has, and its array is an object of the host's collector, which the core must not have.
;;
;; Characters go through one array, moved whole by the builtins: one `charCodeAt` a character takes four times as long in
;; Chromium. Loops are unrolled where that was measured to gain.
(module
  (type $units (array (mut i16)))
  (import "env" "memory" (memory 1 65536))
  (import "wasm:js-string" "length" (func $length (param externref) (result i32)))
  (import "wasm:js-string" "intoCharCodeArray"
    (func $toUnits (param externref (ref null $units) i32) (result i32)))
  (import "wasm:js-string" "fromCharCodeArray"
    (func $fromUnits (param (ref null $units) i32 i32) (result (ref extern))))
  (global $units (ref $units) (array.new_default $units (i32.const 1024)))

  ;; Writes a string of at most 1,024 ASCII characters at a place: its size, or -1 for any other string; then what was
  ;; written is void.
  (func (export "write") (param $text externref) (param $at i32) (result i32)
    (local $units (ref $units)) (local $size i32) (local $i i32) (local $unit i32) (local $any i32)
    (if (i32.gt_u (call $length (local.get $text)) (i32.const 1024)) (then (return (i32.const -1))))
    (local.set $units (global.get $units))
    (local.set $size (call $toUnits (local.get $text) (local.get $units) (i32.const 0)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $size)))
        (local.set $unit (array.get_u $units (local.get $units) (local.get $i)))
        (local.set $any (i32.or (local.get $any) (local.get $unit)))
        (i32.store8 (i32.add (local.get $at) (local.get $i)) (local.get $unit))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (select (i32.const -1) (local.get $size) (i32.gt_u (local.get $any) (i32.const 127))))

  ;; The ASCII bytes at a place, at most 1,024, as a string.
  (func (export "read") (param $at i32) (param $size i32) (result (ref extern))
    (local $units (ref $units)) (local $i i32) (local $end i32)
    (local.set $units (global.get $units))
    (local.set $end (i32.and (local.get $size) (i32.const -8)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $end)))
        (array.set $units (local.get $units) (local.get $i) (i32.load8_u (local.get $at)))
        (array.set $units (local.get $units) (i32.add (local.get $i) (i32.const 1)) (i32.load8_u offset=1 (local.get $at)))
        (array.set $units (local.get $units) (i32.add (local.get $i) (i32.const 2)) (i32.load8_u offset=2 (local.get $at)))
        (array.set $units (local.get $units) (i32.add (local.get $i) (i32.const 3)) (i32.load8_u offset=3 (local.get $at)))
        (array.set $units (local.get $units) (i32.add (local.get $i) (i32.const 4)) (i32.load8_u offset=4 (local.get $at)))
        (array.set $units (local.get $units) (i32.add (local.get $i) (i32.const 5)) (i32.load8_u offset=5 (local.get $at)))
        (array.set $units (local.get $units) (i32.add (local.get $i) (i32.const 6)) (i32.load8_u offset=6 (local.get $at)))
        (array.set $units (local.get $units) (i32.add (local.get $i) (i32.const 7)) (i32.load8_u offset=7 (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (local.set $i (i32.add (local.get $i) (i32.const 8)))
        (br $next)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $size)))
        (array.set $units (local.get $units) (local.get $i) (i32.load8_u (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $fromUnits (local.get $units) (i32.const 0) (local.get $size))))
