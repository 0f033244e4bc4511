# The libraries Satchel stands on, each as one imported target.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(MSGPACK REQUIRED IMPORTED_TARGET msgpack)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(WEBSOCKETS REQUIRED IMPORTED_TARGET libwebsockets)

find_path(LIBEV_INCLUDE ev.h REQUIRED)
find_library(LIBEV_LIBRARY ev REQUIRED)
add_library(satchel_libev INTERFACE)
target_include_directories(satchel_libev SYSTEM INTERFACE ${LIBEV_INCLUDE})
target_link_libraries(satchel_libev INTERFACE ${LIBEV_LIBRARY})

if(SATCHEL_SQLITE_AMALGAMATION)
    add_library(satchel_sqlite3 STATIC ${SATCHEL_SQLITE_AMALGAMATION}/sqlite3.c)
    target_include_directories(satchel_sqlite3 SYSTEM PUBLIC ${SATCHEL_SQLITE_AMALGAMATION})
    target_compile_definitions(satchel_sqlite3 PUBLIC SQLITE_ENABLE_COLUMN_METADATA
                               PRIVATE SQLITE_ENABLE_FTS5 SQLITE_THREADSAFE=1)
    target_compile_options(satchel_sqlite3 PRIVATE -w)
    target_link_libraries(satchel_sqlite3 PUBLIC Threads::Threads ${CMAKE_DL_LIBS} m)
else()
    pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
    add_library(satchel_sqlite3 INTERFACE)
    target_link_libraries(satchel_sqlite3 INTERFACE PkgConfig::SQLITE3)
endif()
