/** Bounds of the waits between connections, in milliseconds. */
export interface BackoffOptions {
  /** The longest first wait. */
  initial?: number;
  /** The longest wait. */
  max?: number;
}

/** Waits that grow from try to try, each chosen at random below its bound, so that many clients do not come back together. */
export class Backoff {
  readonly #initial: number;
  readonly #max: number;
  #tries = 0;

  constructor({ initial = 250, max = 10_000 }: BackoffOptions = {}) {
    this.#initial = initial;
    this.#max = max;
  }

  /** The next wait. A connection that lasted longer than any wait counts as a fresh start. */
  next(lasted: number): number {
    if (lasted > this.#max) this.#tries = 0;
    const bound = Math.min(this.#max, this.#initial * 2 ** this.#tries++);
    return Math.random() * bound;
  }
}

/** Waits so many milliseconds; rejects with the signal's reason when that comes first. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
