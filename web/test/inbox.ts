/** What came and was not taken yet; next waits for more. */
export class Inbox<T> {
  #items: T[] = [];
  #waiting: { resolve: (item: T) => void; reject: (error: Error) => void }[] = [];
  #over = false;

  put(item: T): void {
    const reader = this.#waiting.shift();
    if (reader) reader.resolve(item);
    else this.#items.push(item);
  }

  end(): void {
    this.#over = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error("nothing more comes"));
  }

  next(): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    if (this.#over) return Promise.reject(new Error("nothing more comes"));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  get size(): number {
    return this.#items.length;
  }
}
