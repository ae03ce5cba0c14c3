# A client of QEMU's own firmware (x-vof=on): lets it put RTAS into memory, then puts the agent in its place.
#
# The firmware enters it big-endian in real mode, in 32-bit mode, with r5 = client interface handler (IEEE 1275-1994,
# 6.3.1). The agent, whose image it carries, then finds r3 = 0 as there is no device tree in memory, r4 = entry of
# RTAS, r5 = client interface handler, r6 = what the method answered.

    .set RTAS, 0x03000000                       # where RTAS is to be
    .set STACK, 0x004ffff0                      # the firmware works on its client's stack
    .set AGENT_SIZE, 0x10000
    .set AGENT_ENTRY, 0x100

    .macro address register, symbol
    lis \register, \symbol@h
    ori \register, \register, \symbol@l
    .endm

    .section .text, "ax"
    .globl rig_client
rig_client:
    address r1, STACK
    mr r31, r5
    address r3, open
    mtctr r31
    bctrl
    address r3, open
    lwz r4, 16(r3)
    address r3, call
    stw r4, 16(r3)
    mtctr r31
    bctrl
    address r3, call
    lwz r6, 24(r3)
    lwz r4, 28(r3)
    mr r5, r31

    address r8, agent                           # over the firmware, which is at 0
    li r9, 0
    lis r10, AGENT_SIZE >> 16
    srwi r10, r10, 3
    mtctr r10
copy:
    ld r10, 0(r8)
    std r10, 0(r9)
    dcbst 0, r9
    sync
    icbi 0, r9
    addi r8, r8, 8
    addi r9, r9, 8
    bdnz copy
    isync
    li r3, 0
    li r10, AGENT_ENTRY
    mtctr r10
    bctr

    # Argument arrays: service, numbers of arguments and returns, arguments, returns.
    .balign 4
open:
    .long open_name, 1, 1, path, 0
call:
    .long call_name, 3, 2, method, 0, RTAS, 0, 0
open_name:
    .asciz "open"
path:
    .asciz "/rtas"
call_name:
    .asciz "call-method"
method:
    .asciz "instantiate-rtas"

    .balign 8
agent:
    .incbin "agent-be.bin"
