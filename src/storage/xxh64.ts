/**
 * XXH64 on 32-bit words, synchronous and without start-up work.
 *
 * Our own because the well-kept packages run WebAssembly that loads
 * asynchronously, while `partitionSuffix` and `schemaLockId` are synchronous
 * and a module may do no work on import. Words of 32 bits because `BigInt`
 * arithmetic is several times slower, and a suffix is computed on every call
 * of the storage.
 *
 * @module
 */

/** An unsigned 64-bit number as two 32-bit words, each read as unsigned. */
export interface Uint64 {
  /** The upper 32 bits, 0 to 2^32 - 1. */
  readonly high: number;
  /** The lower 32 bits, 0 to 2^32 - 1. */
  readonly low: number;
}

/** The words as signed 32-bit integers, which engines keep unboxed. */
interface Words {
  high: number;
  low: number;
}

const PRIME_1: Uint64 = { high: 0x9e3779b1, low: 0x85ebca87 };
const PRIME_2: Uint64 = { high: 0xc2b2ae3d, low: 0x27d4eb4f };
const PRIME_3: Uint64 = { high: 0x165667b1, low: 0x9e3779f9 };
const PRIME_4: Uint64 = { high: 0x85ebca77, low: 0xc2b2ae63 };
const PRIME_5: Uint64 = { high: 0x27d4eb2f, low: 0x165667c5 };
const ZERO: Uint64 = { high: 0, low: 0 };

const STRIPE_BYTES = 32;

/** The XXH64 hash of `data` with seed 0. Any length. */
export function xxh64(data: Uint8Array): Uint64 {
  let offset = 0;
  const hash = copy(PRIME_5);
  if (data.length >= STRIPE_BYTES) {
    offset = hashStripes(hash, data);
  }
  add(hash, { high: Math.floor(data.length / 0x100000000), low: data.length });
  hashTail(hash, data, offset);
  avalanche(hash);
  return { high: hash.high >>> 0, low: hash.low >>> 0 };
}

/** Replaces `hash` by the hash of the whole stripes, returns their length. */
function hashStripes(hash: Words, data: Uint8Array): number {
  const a = copy(PRIME_1);
  add(a, PRIME_2);
  const b = copy(PRIME_2);
  const c = copy(ZERO);
  const d = copy(ZERO);
  subtract(d, PRIME_1);
  let offset = 0;
  for (; offset + STRIPE_BYTES <= data.length; offset += STRIPE_BYTES) {
    round(a, data, offset);
    round(b, data, offset + 8);
    round(c, data, offset + 16);
    round(d, data, offset + 24);
  }
  assign(hash, ZERO);
  addRotated(hash, a, 1);
  addRotated(hash, b, 7);
  addRotated(hash, c, 12);
  addRotated(hash, d, 18);
  merge(hash, a);
  merge(hash, b);
  merge(hash, c);
  merge(hash, d);
  return offset;
}

/** Mixes in the bytes behind the last whole stripe. */
function hashTail(hash: Words, data: Uint8Array, start: number): void {
  let offset = start;
  for (; offset + 8 <= data.length; offset += 8) {
    const lane = copy(ZERO);
    round(lane, data, offset);
    xor(hash, lane);
    rotate(hash, 27);
    multiply(hash, PRIME_1);
    add(hash, PRIME_4);
  }
  if (offset + 4 <= data.length) {
    const lane = { high: 0, low: readWord(data, offset) };
    multiply(lane, PRIME_1);
    xor(hash, lane);
    rotate(hash, 23);
    multiply(hash, PRIME_2);
    add(hash, PRIME_3);
    offset += 4;
  }
  for (; offset < data.length; offset++) {
    const lane = { high: 0, low: data[offset] ?? 0 };
    multiply(lane, PRIME_5);
    xor(hash, lane);
    rotate(hash, 11);
    multiply(hash, PRIME_1);
  }
}

function avalanche(hash: Words): void {
  xorShifted(hash, 33);
  multiply(hash, PRIME_2);
  xorShifted(hash, 29);
  multiply(hash, PRIME_3);
  xorShifted(hash, 32);
}

/** One XXH64 round: mixes the eight bytes at `offset` into `lane`. */
function round(lane: Words, data: Uint8Array, offset: number): void {
  const input = {
    high: readWord(data, offset + 4),
    low: readWord(data, offset),
  };
  multiply(input, PRIME_2);
  add(lane, input);
  rotate(lane, 31);
  multiply(lane, PRIME_1);
}

function merge(hash: Words, lane: Words): void {
  multiply(lane, PRIME_2);
  rotate(lane, 31);
  multiply(lane, PRIME_1);
  xor(hash, lane);
  multiply(hash, PRIME_1);
  add(hash, PRIME_4);
}

function addRotated(target: Words, value: Words, bits: number): void {
  const rotated = copy(value);
  rotate(rotated, bits);
  add(target, rotated);
}

/** Four bytes, little-endian; the caller has checked that they are there. */
function readWord(data: Uint8Array, offset: number): number {
  return (data[offset] ?? 0) | ((data[offset + 1] ?? 0) << 8) |
    ((data[offset + 2] ?? 0) << 16) | ((data[offset + 3] ?? 0) << 24);
}

function copy(value: Uint64): Words {
  return { high: value.high | 0, low: value.low | 0 };
}

function assign(target: Words, value: Uint64): void {
  target.high = value.high | 0;
  target.low = value.low | 0;
}

function add(target: Words, value: Uint64): void {
  const low = (target.low >>> 0) + (value.low >>> 0);
  const carry = low > 0xffffffff ? 1 : 0;
  target.high = (target.high + value.high + carry) | 0;
  target.low = low | 0;
}

function subtract(target: Words, value: Uint64): void {
  const low = (target.low >>> 0) - (value.low >>> 0);
  const borrow = low < 0 ? 1 : 0;
  target.high = (target.high - value.high - borrow) | 0;
  target.low = low | 0;
}

/** Products of 16-bit halves, so that no partial sum leaves 32 bits. */
function multiply(target: Words, value: Uint64): void {
  const a0 = target.low & 0xffff;
  const a1 = target.low >>> 16;
  const b0 = value.low & 0xffff;
  const b1 = value.low >>> 16;
  const p00 = Math.imul(a0, b0);
  const p01 = Math.imul(a0, b1);
  const p10 = Math.imul(a1, b0);
  const middle = (p10 + (p00 >>> 16) + (p01 & 0xffff)) | 0;
  const carry = Math.imul(a1, b1) + (middle >>> 16) + (p01 >>> 16);
  target.high = (carry + Math.imul(target.high, value.low) +
    Math.imul(target.low, value.high)) | 0;
  target.low = (middle << 16) | (p00 & 0xffff);
}

/** Rotates left by 1 to 31 bits. */
function rotate(target: Words, bits: number): void {
  const { high, low } = target;
  target.high = (high << bits) | (low >>> (32 - bits));
  target.low = (low << bits) | (high >>> (32 - bits));
}

function xor(target: Words, value: Words): void {
  target.high ^= value.high;
  target.low ^= value.low;
}

/** `target ^= target >> bits`, for 1 to 63 bits. */
function xorShifted(target: Words, bits: number): void {
  const { high, low } = target;
  if (bits >= 32) {
    target.low = low ^ (high >>> (bits - 32));
    return;
  }
  target.high = high ^ (high >>> bits);
  target.low = low ^ ((low >>> bits) | (high << (32 - bits)));
}
