import { describe, expect, it } from 'vitest';
import { hookForward } from './hook-forward.ts';
import { Module } from './module.ts';

class Echo extends Module {
  forward(text: string): string {
    if (text === '') throw new Error('nothing to say');
    return `${text} ${this.constructor.name}`;
  }
}

describe('hookForward', () => {
  it('runs hooks around the forward of one instance, the later inside the earlier, also when it throws', () => {
    const [hooked, other] = [new Echo(), new Echo()];
    const calls: string[] = [];
    const named = (name: string) => ({
      before: () => void calls.push(`before ${name}`),
      after: () => void calls.push(`after ${name}`),
    });
    const remove = hookForward(hooked, named('a'));
    hookForward(hooked, named('b'));
    expect([hooked.forward('hi'), other.forward('hi')]).toEqual(['hi Echo', 'hi Echo']);
    expect(calls).toEqual(['before a', 'before b', 'after b', 'after a']);
    expect(() => hooked.forward('')).toThrow('nothing to say');
    expect(calls).toHaveLength(8);
    remove();
    hooked.forward('hi');
    expect(calls.slice(8)).toEqual(['before b', 'after b']);
    expect(Object.keys(hooked)).toEqual(['training']);
  });
});
