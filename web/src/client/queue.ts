/**
 * What has come and is not read yet, in order, bounded by its size. The bound holds back the sender, who asks whether there is
 * room: the queue itself takes everything, so that nothing is lost, and so that what is larger than the bound passes too.
 */
export class Queue<T> implements AsyncIterable<T> {
  readonly #limit: number;
  #items: { item: T; size: number }[] = [];
  #size = 0;
  #over = false;
  #error: unknown;
  #reader: (() => void) | undefined;
  #sender: (() => void) | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Puts the item in, and tells whether there is room for more. */
  push(item: T, size: number): boolean {
    this.#items.push({ item, size });
    this.#size += size;
    this.#reader?.();
    return this.#size < this.#limit;
  }

  /** The item that was put in last and is not read yet. */
  get last(): T | undefined {
    return this.#items.at(-1)?.item;
  }

  /** Takes that one out again. */
  dropLast(): void {
    this.#size -= this.#items.pop()?.size ?? 0;
  }

  /** Waits until half of the room is free again. */
  async room(): Promise<void> {
    while (this.#size > this.#limit / 2 && !this.#over) {
      await new Promise<void>((resolve) => (this.#sender = resolve));
    }
  }

  /** Nothing more will come; readers get what is there first. */
  end(): void {
    this.#over = true;
    this.#reader?.();
    this.#sender?.();
  }

  /** As end, but then readers get the error. */
  fail(error: unknown): void {
    this.#error = { error };
    this.end();
  }

  /** Drops what is there, so that readers get the end, or the error, at once. */
  clear(): void {
    this.#items = [];
    this.#size = 0;
  }

  /** For one reader. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    for (;;) {
      const first = this.#items.shift();
      if (first) {
        this.#size -= first.size;
        if (this.#size <= this.#limit / 2) this.#sender?.();
        yield first.item;
      } else if (!this.#over) {
        await new Promise<void>((resolve) => (this.#reader = resolve));
      } else {
        if (this.#error) throw (this.#error as { error: unknown }).error;
        return;
      }
    }
  }
}
