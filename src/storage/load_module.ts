/** Imports run one by one: in parallel, Deno 2.8.0 loses Node's modules. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Loads a module on first use. A program that only wants the twin in memory,
 * the errors or the stream ids does not wait for the rest of the package.
 */
export function loadModule<T>(load: () => Promise<T>): Promise<T> {
  const loading = last.then(load, load);
  last = loading;
  return loading;
}
