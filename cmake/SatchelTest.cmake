# satchel_test(NAME [SOURCES file...] LIBS target... [ENV var=value...])
# A cmocka program NAME from NAME.c (and SOURCES), run by CTest.
function(satchel_test name)
    cmake_parse_arguments(TEST "" "" "SOURCES;LIBS;ENV" ${ARGN})
    add_executable(${name} ${name}.c ${TEST_SOURCES})
    target_link_libraries(${name} PRIVATE ${TEST_LIBS} cmocka)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 600 ENVIRONMENT "${TEST_ENV}")
endfunction()
