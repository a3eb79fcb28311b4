/** Two and a half heartbeats without a message: the connection is dead, whatever TCP says. */
export const silence = (heartbeat: number): number => heartbeat * 2500;

/** Calls back, once, when nothing has been seen for a while. */
export class Watchdog {
  readonly #onSilence: () => void;
  readonly #limit: number;
  #seen = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** The limit is in milliseconds. */
  constructor(limit: number, onSilence: () => void) {
    this.#limit = limit;
    this.#onSilence = onSilence;
    this.start();
  }

  /** Watches on after a stop. */
  start(): void {
    this.stop();
    this.seen();
    this.#arm(this.#limit);
  }

  /** Something was seen. Cheap: the timer is not moved. */
  seen(): void {
    this.#seen = performance.now();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(ms: number): void {
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    const left = this.#seen + this.#limit - performance.now();
    if (left > 0) this.#arm(left);
    else this.#onSilence();
  }
}
