import type { Socket } from 'node:dgram';

export function datagramHandle(socket: Socket): { readonly fd: number; recvStop(): void };
