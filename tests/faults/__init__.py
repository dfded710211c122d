"""The fault rig: a real server, real agents on fake hosts, and a witness that the kernel keeps honest.

`make faults` draws N seeded faults from faults.py while a crowd submits jobs, heals, and judges (judge.py).
The tests here are its shorter set. Where each id of the trust plan is tried:

    R1   test_hosts_in_trouble, test_more_trouble (requests during agent kills), every `make faults`
    R2   test_hosts_in_trouble, tests/workers/test_isolation (cgroups), `make faults`
    R3   test_hosts_in_trouble, `make faults`; late writes after every fault (late.py)
    R4   test_hosts_in_trouble (each edge, an engine that ignores TERM), `make faults`
    R5, R6, R7, R17   test_server_in_trouble, `make faults`; R17 as a state machine in test_reservation_model
         and with 10,000 jobs in test_two_hundred_schedulers
    R5 with a queue, R7 every ten seconds, R18   test_long_queues_and_hangs (the whole of R5 and R7 in make test-long)
    R6   each kind of message also in test_each_message
    R9   test_hosts_in_trouble by a stopped proxy; a downed network link needs a namespace of its own
    R10  test_more_trouble, `make faults`
    R11  test_hosts_in_trouble (a reused pid needs root), tests/workers/test_attempts, `make faults`
    R12  test_more_trouble, where libfaketime is installed; the server's clock in tests/jobs/test_watching
    R13  test_hosts_in_trouble (the 8 MB disk needs root), tests/workers/test_full_disks, `make faults`
    R14  tests/catalog/test_download
    R15  tests/workers/test_checkpoints (fifty kills in make test-long), tests/engines/test_checkpoints
    R16, R19   test_more_trouble, tests/workers/test_rough_times (a hundred starts in make test-long)
    R20  tests/workers/test_isolation (memory groups need rights)
    R8, R23   test_restore; R23 on parts that run in test_restore_drill (make test-long)
    R22  tests/gateway/test_restart; R21  tests/workers/test_neighbouring_versions, test_rough_times

R1 and R24 in full: test_for_hours. Not tried: R15 with a real trainer.
"""
